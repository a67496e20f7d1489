"""Spread of the top-1 of each run over its seeds."""

import pandas as pd

from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.runs import CELL, bits_shown, in_order, read_results
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals

SPREAD = {"count": "seeds", "mean": "top1_mean", "std": "top1_sd", "min": "top1_min", "max": "top1_max"}


def make(sources: Sources) -> Table:
    """Make the table from results.csv."""
    results = read_results(sources.one("results"))
    rows = seed_spread(results, sources.methods)
    return Table(rows, seed_spread_shown(rows), run_note(results))


def seed_spread(results: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per run of several seeds: data set, `CELL`, and SPREAD of its top-1 in percent."""
    runs = results[results.method != FP32].groupby(["dataset", *CELL])
    spread = runs.top1.agg(list(SPREAD)).rename(columns=SPREAD).reset_index()
    return in_order(spread[spread.seeds > 1], methods, ["dataset", *CELL])


def seed_spread_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `seed_spread` as text, with two decimals."""
    names = {"model": rows.model, "mode": rows["mode"], "method": rows.method, "bits": bits_shown(rows), "seeds": rows.seeds.astype(str)}
    numbers = {"mean": "top1_mean", "standard deviation": "top1_sd", "lowest": "top1_min", "highest": "top1_max"}
    return pd.DataFrame(names | {name: decimals(rows[column]) for name, column in numbers.items()})
