"""Running time of each method: seconds by job and bit-width."""

import pandas as pd

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.published import read_means, under_our_names
from qhyvit.reporting.read import read_table
from qhyvit.reporting.runs import bit_widths, bits_shown, in_order
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals

NETWORK = ["model", "mode", "method"]
MEAN = "mean"


def make(sources: Sources) -> Table:
    """Make the table from timings.csv and the paper's Fig. 9."""
    rows = running_time(read_table(sources.one("timings")), read_means(sources.one("published/fig_9")), sources.methods)
    return Table(rows, running_time_shown(rows))


def running_time(timings: pd.DataFrame, published: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per network, mode and method: seconds of calibration, of quantization by bit-width, and in total.

    Rows of the model "mean" follow, over networks, next to the ``published`` means of the same method.
    """
    calibrate = timings.groupby(NETWORK).calibrate.first()
    rows = timings.assign(bits=bits_shown(timings))
    quantize = rows.pivot(index=NETWORK, columns="bits", values="quantize")[bit_widths(rows)]
    seconds = quantize.assign(total=calibrate + quantize.sum(axis=1, skipna=False))
    seconds.insert(0, "calibrate", calibrate)
    means = seconds.groupby(["mode", "method"]).mean(skipna=False).reset_index().assign(model=MEAN)
    means["paper"] = means.method.map(under_our_names(published, methods.published_as).set_index("method").value)
    ordered = [in_order(table, methods, NETWORK) for table in (seconds.reset_index(), means)]
    return pd.concat(ordered, ignore_index=True).rename_axis(columns=None)


def running_time_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `running_time` as text: two decimals, blanks for unknown numbers."""
    numbers = table.columns.drop(NETWORK)
    return table.assign(**{name: decimals(table[name]) for name in numbers}).rename(columns={"paper": "paper's mean"})
