"""Accuracy by method and bit-width."""

import pandas as pd

from qhyvit.reporting.averaged import read_averaged
from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.runs import bit_widths, bits_shown, in_order
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals, interval_shown

NETWORK = ["model", "mode", "method"]


def make(sources: Sources) -> Table:
    """Make the table from results.csv and correct.csv."""
    averaged = read_averaged(sources)
    table = accuracy_table(averaged, sources.methods)
    return Table(table, table, run_note(averaged))


def accuracy_table(averaged: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per model, mode and method, one column per bit-width: top-1 in percent and the drop with its 95 % interval.

    ``averaged`` has one row per cell, with the columns of `qhyvit.reporting.averaged`.
    """
    drops = interval_shown(averaged["drop"], averaged.drop_low, averaged.drop_high)
    cells = averaged.assign(bits=bits_shown(averaged), cell=decimals(averaged.top1) + " (drop " + drops + ")")
    table = cells.pivot(index=NETWORK, columns="bits", values="cell")[bit_widths(cells)].fillna("").reset_index().rename_axis(columns=None)
    table.insert(1, "FP32", decimals(table.model.map(averaged.groupby("model").top1_fp32.first())))
    return in_order(table, methods, NETWORK)
