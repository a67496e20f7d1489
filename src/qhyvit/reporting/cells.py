"""The quantized runs of one mode as cells: a network, a method and a bit-width, averaged over seeds."""

from typing import Any

import pandas as pd

from qhyvit.errors import InputError
from qhyvit.reporting.runs import FP32
from qhyvit.reporting.tables.comparison import bits_shown

PLACE = ["family", "model", "method", "w_bits", "a_bits"]


def runs_of_mode(results: pd.DataFrame, mode: str) -> pd.DataFrame:
    """The quantized rows of results.csv in ``mode``, by family, network and method, the widest bits first; ``bits`` is as in W8A8.

    Raises InputError where there are none.
    """
    rows = results[(results.method != FP32) & (results["mode"] == mode)]
    if rows.empty:
        raise InputError(f"results.csv: no run is in mode {mode!r}; choose another mode, or add it to the experiment")
    order = [True, True, True, False, False, True]
    return rows.assign(bits=bits_shown(rows)).sort_values([*PLACE, "seed"], ascending=order, ignore_index=True)


def cells(results: pd.DataFrame, mode: str) -> pd.DataFrame:
    """One row a cell: accuracies, drops and the ends of their intervals, in percent and points, are means over seeds."""
    values = ["top1", "top1_fp32", "drop", "drop_low", "drop_high", "images"]
    return runs_of_mode(results, mode).groupby([*PLACE, "bits"], sort=False, as_index=False)[values].mean()


def bit_widths(rows: pd.DataFrame) -> list[Any]:
    """The bit-widths among ``rows`` of `cells`, the widest first."""
    return list(rows.sort_values(["w_bits", "a_bits"], ascending=False).bits.unique())
