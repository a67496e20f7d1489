"""Accuracy by method and bit-width."""

import pandas as pd

from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.runs import bit_widths, bits_shown, in_order, read_results, seed_means
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals, interval_shown

NETWORK = ["model", "mode", "method"]


def make(sources: Sources) -> Table:
    """Make the table from results.csv."""
    table = accuracy_table(read_results(sources.one("results")), sources.methods)
    return Table(table, table)


def accuracy_table(results: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per model, mode and method, one column per bit-width: top-1 in percent and the drop with its 95 % interval.

    Several seeds are averaged, and so are the ends of their intervals.
    """
    means = seed_means(results)
    drops = interval_shown(means["drop"], means.drop_low, means.drop_high)
    cells = means.assign(bits=bits_shown(means), cell=decimals(means.top1) + " (drop " + drops + ")")
    table = cells.pivot(index=NETWORK, columns="bits", values="cell")[bit_widths(cells)].reset_index().rename_axis(columns=None)
    fp32 = results[results.method == FP32].set_index("model").top1
    table.insert(1, "FP32", decimals(table.model.map(fp32)))
    return in_order(table, methods, NETWORK)
