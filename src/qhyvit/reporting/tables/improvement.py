"""How much better Q-HyViT is than each baseline: our means over networks beside the paper's."""

import pandas as pd

from qhyvit.reporting.tables.comparison import bits_shown, decimals, seed_means

# Points of a baseline's own drop. Nobody would deploy a network that lost as many: a gain over it tells how broken the baseline is, not
# how good the search.
COLLAPSED = 10.0
HEADLINE = ("easyquant", "ptq4vit", "repqvit")  # the abstract's 17.73 and 29.75 are means over these (v3)
RUN = ["mode", "w_bits", "a_bits"]
WITHOUT_COLLAPSED = "_without_collapsed"
CAPTION = (
    "Mean points by which the top-1 of qhyvit is above that of a baseline, with the number of cells that the mean is over. Collapsed is a"
    f" baseline that itself loses more than {COLLAPSED:g} points. The paper's means are over the published cells that are known;"
    " what it states is over all of its networks."
)


def improvement(results: pd.DataFrame, published: pd.DataFrame, stated: pd.DataFrame) -> pd.DataFrame:
    """A row for each data set, mode, bit-width and baseline of ours.

    ``published`` has the quantized cells of the paper, ``stated`` the means that it states. A mean is plain, over networks, as the paper's;
    its second form leaves collapsed baselines out. Improvements are in points of top-1, NaN where there is no cell.
    """
    baseline = [*RUN, "method"]
    ours = _means(seed_means(results), ["dataset", *RUN]).reset_index()
    paper = _means(published, RUN).add_prefix("paper_").reset_index()
    paper_stated = stated.rename(columns={"value": "paper_stated"})[[*baseline, "paper_stated"]]
    rows = ours.merge(paper, how="left", on=baseline).merge(paper_stated, how="left", on=baseline)
    counts = {name: "Int64" for name in rows.columns if "cells" in name}
    order = ["dataset", "mode", "w_bits", "a_bits", "method"]
    return rows.astype(counts).sort_values(order, ascending=[True, False, False, False, True], ignore_index=True)


def improvement_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """What `improvement` returns, for people: a mean with the number of its cells, blank where it has none."""
    return pd.DataFrame(
        {
            "data set": rows.dataset,
            "mode": rows["mode"],
            "bits": bits_shown(rows),
            "baseline": rows.method,
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
        cells.groupby([*run, "method"]).improvement.agg(improvement="mean", cells="size")
        for cells in (pairs, pairs[pairs["drop"] <= COLLAPSED])
    )
    return every.join(standing.add_suffix(WITHOUT_COLLAPSED)).fillna({f"cells{WITHOUT_COLLAPSED}": 0})


def _pairs(accuracies: pd.DataFrame, run: list[str]) -> pd.DataFrame:
    """Each baseline's cell with the improvement over it; those of the headline's baselines again under their joint name."""
    whole_method = accuracies[accuracies.method == "qhyvit"][[*run, "model", "top1"]]
    baselines = accuracies[~accuracies.method.str.startswith("qhyvit")]
    pairs = baselines.merge(whole_method, on=[*run, "model"], suffixes=("", "_qhyvit"))
    pairs["improvement"] = pairs.top1_qhyvit - pairs.top1
    of_headline = pairs[pairs.method.isin(HEADLINE)]
    complete = of_headline.groupby(run).method.transform("nunique") == len(HEADLINE)
    return pd.concat([pairs, of_headline[complete].assign(method="+".join(HEADLINE))])


def _mean_shown(rows: pd.DataFrame, prefix: str, suffix: str) -> "pd.Series[str]":
    mean, cells = rows[f"{prefix}improvement{suffix}"], rows[f"{prefix}cells{suffix}"]
    return (decimals(mean) + " (" + cells.astype(str) + ")").where(mean.notna(), "")
