"""Our accuracies beside those of the paper's tables."""

from dataclasses import dataclass

import pandas as pd

from qhyvit.config.base import Mode
from qhyvit.reporting.published import CELL
from qhyvit.reporting.runs import FP32
from qhyvit.reporting.search_steps import PARTS, STEPS

BITS = (8, 6)
PAPER = {"top1_fp32": "paper_fp32", "top1": "paper_top1", "drop": "paper_drop", "source": "source", "trust": "trust"}


@dataclass(frozen=True)
class PaperTable:
    """What a table of the paper covers: a mode, at W8A8 and W6A6."""

    title: str
    mode: Mode
    ablation: bool = False

    def covers(self, rows: pd.DataFrame) -> "pd.Series[bool]":
        """Which rows belong into the table. An ablation has the steps of the search, the others all methods but its parts."""
        of_methods = rows.method.isin(STEPS.keys()) if self.ablation else ~rows.method.isin(PARTS.keys())
        return (rows["mode"] == self.mode) & rows.w_bits.isin(BITS) & (rows.w_bits == rows.a_bits) & of_methods


TABLES = {
    "table_ii": PaperTable("Partial quantization, beside Table II of the paper", "partial"),
    "table_iii": PaperTable("Full quantization, beside Table III of the paper", "full"),
    "table_iv": PaperTable("Ablation, beside Table IV of the paper", "partial", ablation=True),
}


def seed_means(results: pd.DataFrame) -> pd.DataFrame:
    """The quantized rows of results.csv, averaged over seeds: accuracies, drops and the ends of their intervals."""
    quantized = results[results.method != FP32]
    return quantized.groupby(["dataset", *CELL], as_index=False)[["top1_fp32", "top1", "drop", "drop_low", "drop_high"]].mean()


def comparison(results: pd.DataFrame, table: PaperTable, published: pd.DataFrame) -> pd.DataFrame:
    """A row for each of our cells that ``table`` covers, with the ``published`` one of the same network where it is known.

    Accuracies and drops in points. The differences, ours less the paper's, are NaN on all images but ImageNet's: accuracies on different
    images cannot be subtracted.
    """
    means = seed_means(results)
    paper = published.rename(columns=PAPER)[[*CELL, *PAPER.values()]]
    rows = means[table.covers(means)].merge(paper, how="left", on=CELL, validate="many_to_one")
    same_images = rows.dataset.str.startswith("imagenet")
    rows["top1_difference"] = (rows.top1 - rows.paper_top1).where(same_images)
    rows["drop_difference"] = (rows["drop"] - rows.paper_drop).where(same_images)
    return rows.sort_values(["dataset", "w_bits", "model", "method"], ascending=[True, False, True, True], ignore_index=True)


def comparison_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """What `comparison` returns, for people: two decimals, blank where a number is not known."""
    return pd.DataFrame(
        {
            "data set": rows.dataset,
            "model": rows.model,
            "method": rows.method,
            "bits": bits_shown(rows),
            "FP32": decimals(rows.top1_fp32),
            "top-1": decimals(rows.top1),
            "drop": decimals(rows["drop"]) + " [" + decimals(rows.drop_low) + ", " + decimals(rows.drop_high) + "]",
            "paper: FP32": decimals(rows.paper_fp32),
            "paper: top-1": decimals(rows.paper_top1),
            "paper: drop": decimals(rows.paper_drop),
            "top-1, less the paper's": decimals(rows.top1_difference),
            "drop, less the paper's": decimals(rows.drop_difference),
        }
    )


def caption(table: PaperTable, rows: pd.DataFrame) -> str:
    """What the table shows, how many of its cells have a published counterpart, and whether these may be subtracted."""
    if rows.empty:
        return f"{table.title}. This run has none of its cells."
    coverage = f"The published accuracy on the same network is known for {rows.paper_top1.notna().sum()} of these {len(rows)} cells."
    if rows.dataset.str.startswith("imagenet").all():
        return f"{table.title}. {coverage}"
    return (
        f"{table.title}. {coverage} The paper's are of ImageNet, ours of other images: they stand side by side, and nothing is subtracted."
    )


def bits_shown(rows: pd.DataFrame) -> "pd.Series[str]":
    """The bit-widths as in W8A8."""
    return "W" + rows.w_bits.astype(str) + "A" + rows.a_bits.astype(str)


def decimals(values: "pd.Series[float]") -> "pd.Series[str]":
    """Two decimals, with no sign before 0, blank for NaN."""
    return values.map(lambda value: "" if pd.isna(value) else f"{value:z.2f}").astype(str)
