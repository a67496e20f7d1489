"""KL divergence and top-1 with the joint search of bridge blocks, against the search without it."""

import pandas as pd

from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.runs import CELL, KEY, bits_shown, in_order, read_results
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals, interval_shown

WITHOUT, WITH = "qhyvit-scheme", ("qhyvit", "qhyvit-joint")
MEANS = ["kl_without", "kl", "top1_without", "top1"]
CHANGES = ["kl_ratio", "gain"]


def make(sources: Sources) -> Table:
    """Make the table from results.csv."""
    results = read_results(sources.one("results"))
    rows = compared(results, sources.methods)
    return Table(rows, compared_shown(rows), run_note(results))


def compared(results: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per data set and CELL of a method WITH the joint search, over the seeds that it shares with the one WITHOUT.

    MEANS over seeds; mean, smallest and largest value of CHANGES: the ratio of the KL divergences, and the gain of top-1 in points.
    """
    run = [name for name in KEY if name != "method"]
    without = results.loc[results.method == WITHOUT, [*run, "kl", "top1"]]
    pairs = results[results.method.isin(WITH)].merge(without, on=run, suffixes=("", "_without"))
    pairs["kl_ratio"], pairs["gain"] = pairs.kl / pairs.kl_without, pairs.top1 - pairs.top1_without
    grouped = pairs.groupby(["dataset", *CELL])
    changes = {f"{name}_{kind}": (name, kind) for name in CHANGES for kind in ("mean", "min", "max")}
    rows = grouped.agg(seeds=("seed", "count"), **{name: (name, "mean") for name in MEANS}, **changes).reset_index()
    return in_order(rows, methods, ["dataset", *CELL])


def compared_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `compared` as text."""
    names = {"model": rows.model, "mode": rows["mode"], "bits": bits_shown(rows), "method": rows.method, "seeds": rows.seeds.astype(str)}
    means = {
        "KL without": rows.kl_without.map("{:.3g}".format),
        "KL": rows.kl.map("{:.3g}".format),
        "top-1 without": decimals(rows.top1_without),
        "top-1": decimals(rows.top1),
    }
    changes = {name: interval_shown(*(rows[f"{name}_{kind}"] for kind in ("mean", "min", "max"))) for name in CHANGES}
    return pd.DataFrame(names | means | {"KL ratio": changes["kl_ratio"], "gain": changes["gain"]})
