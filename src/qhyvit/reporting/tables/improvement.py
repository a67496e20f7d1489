"""Mean improvement over each baseline: over the networks of a run, and over those of the paper."""

import pandas as pd

from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.published import read_cells, read_means, under_our_names
from qhyvit.reporting.runs import BITS, bits_shown, in_order, read_results, seed_means
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.headline import ABSTRACT, HEADLINE, headline_note
from qhyvit.reporting.write import Table, decimals

# Points of a baseline's own drop. Nobody would deploy a network with such a loss: a gain over it tells how broken the baseline is, not
# how good the search is.
COLLAPSED = 10.0
RUN = ["mode", *BITS]
WITHOUT_COLLAPSED = "_without_collapsed"


def make(sources: Sources) -> Table:
    """Make the table from results.csv, the published Tables II and III, and the improvements that the paper states."""
    results, methods = read_results(sources.one("results")), sources.methods
    published = pd.concat([read_cells(sources.one(f"published/{name}")) for name in ("table_ii", "table_iii")])
    rows = improvement(results, published, read_means(sources.one("published/improvements")), methods)
    return Table(rows, improvement_shown(rows), f"{headline_note(results.method)} {run_note(results)}".strip())


def improvement(results: pd.DataFrame, published: pd.DataFrame, stated: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per data set, mode, bit-width, method of the headline and baseline of the run.

    ``published`` has the quantized cells of the paper, ``stated`` the means that it states. A mean is plain, over networks, as the paper's;
    its second form leaves collapsed baselines out. Improvements are in points of top-1, NaN if there is no cell.
    """
    row = [*RUN, "method", "baseline"]
    ours = _means(seed_means(results), ["dataset", *RUN]).reset_index()
    paper = _means(under_our_names(published, methods.published_as), RUN).add_prefix("paper_").reset_index()
    rows = ours.merge(paper, how="left", on=row).merge(_stated(stated, methods), how="left", on=row)
    counts = {name: "Int64" for name in rows.columns if "cells" in name}
    return in_order(rows.astype(counts), methods, ["dataset", *row])


def improvement_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `improvement` as text: a mean with the number of its cells, blank if it has none."""
    return pd.DataFrame(
        {
            "data set": rows.dataset,
            "mode": rows["mode"],
            "bits": bits_shown(rows),
            "method": rows.method,
            "baseline": rows.baseline,
            "ours": _mean_shown(rows, "", ""),
            "ours, without collapsed": _mean_shown(rows, "", WITHOUT_COLLAPSED),
            "paper": _mean_shown(rows, "paper_", ""),
            "paper, without collapsed": _mean_shown(rows, "paper_", WITHOUT_COLLAPSED),
            "paper, stated": decimals(rows.paper_stated),
        }
    )


def _means(accuracies: pd.DataFrame, run: list[str]) -> pd.DataFrame:
    pairs = _pairs(accuracies, run)
    every, standing = (
        cells.groupby([*run, "method", "baseline"]).improvement.agg(improvement="mean", cells="size")
        for cells in (pairs, pairs[pairs["drop"] <= COLLAPSED])
    )
    return every.join(standing.add_suffix(WITHOUT_COLLAPSED)).fillna({f"cells{WITHOUT_COLLAPSED}": 0})


def _pairs(accuracies: pd.DataFrame, run: list[str]) -> pd.DataFrame:
    """Return each baseline's cell with the improvement over it; those of the abstract's baselines also under their joint name."""
    headline = accuracies[accuracies.method.isin(HEADLINE)][[*run, "model", "method", "top1"]]
    baselines = accuracies[~accuracies.method.str.startswith("qhyvit")].rename(columns={"method": "baseline"})
    pairs = baselines.merge(headline, on=[*run, "model"], suffixes=("", "_headline"))
    pairs["improvement"] = pairs.top1_headline - pairs.top1
    abstract = pairs[pairs.baseline.isin(ABSTRACT)]
    complete = abstract.groupby(run).baseline.transform("nunique") == len(ABSTRACT)
    return pd.concat([pairs, abstract[complete].assign(baseline="+".join(ABSTRACT))])


def _stated(stated: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    names = dict(methods.published_as)
    if names.keys() >= {*ABSTRACT}:
        names["+".join(ABSTRACT)] = "+".join(names[name] for name in ABSTRACT)
    ours = under_our_names(stated, names).rename(columns={"method": "baseline", "value": "paper_stated"})
    headline = pd.DataFrame({"method": [name for name in HEADLINE if name in names]}, dtype=object)
    return ours.merge(headline, how="cross")[[*RUN, "method", "baseline", "paper_stated"]]


def _mean_shown(rows: pd.DataFrame, prefix: str, suffix: str) -> "pd.Series[str]":
    mean, cells = rows[f"{prefix}improvement{suffix}"], rows[f"{prefix}cells{suffix}"]
    return (decimals(mean) + " (" + cells.astype(str) + ")").where(mean.notna(), "")
