"""Accuracies next to those of one table of the paper."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from qhyvit.config.base import Mode
from qhyvit.config.dataset import IMAGENET_VALIDATION_IMAGES
from qhyvit.reporting.averaged import INTERVAL, read_averaged
from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.published import under_our_names
from qhyvit.reporting.runs import BITS, CELL, MEANS, bits_shown, in_order
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.headline import HEADLINE
from qhyvit.reporting.write import Table, decimals, interval_shown

PAPER_BITS = (8, 6)
PAPER = {"top1_fp32": "paper_fp32", "top1": "paper_top1", "drop": "paper_drop", "source": "source", "trust": "trust"}


def comparison_table(sources: Sources, published: pd.DataFrame, mode: Mode, methods: Collection[str]) -> Table:
    """Compare the runs of ``methods`` in ``mode`` with the cells of a ``published`` table (`read_cells`)."""
    ours = read_averaged(sources)
    images = int(ours.images.max())
    same_images = sources.experiment().experiment.dataset.is_whole_imagenet(images)
    covered = ours[(ours["mode"] == mode) & ours.w_bits.isin(PAPER_BITS) & (ours.w_bits == ours.a_bits) & ours.method.isin(methods)]
    rows = compare(covered, under_our_names(published, sources.methods.published_as), same_images)
    rows = in_order(rows, sources.methods, ["dataset", *BITS, "model", "method"])
    notes = [_coverage(rows), run_note(ours), "" if same_images else _other_images(images)]
    return Table(rows, comparison_shown(rows), " ".join(filter(None, notes)))


def compare(ours: pd.DataFrame, published: pd.DataFrame, same_images: bool) -> pd.DataFrame:
    """Return one row per cell of ``ours`` (`averaged`), with the ``published`` cell of the same name where it is known.

    Accuracies are in percent, drops in points. Differences, ours minus the paper's, are NaN unless both are on the ``same_images``, those
    of ImageNet's whole validation set (`Dataset.is_whole_imagenet`).
    """
    paper = published.rename(columns=PAPER)[[*CELL, *PAPER.values()]]
    rows = ours[["dataset", *CELL, *MEANS, *INTERVAL]].merge(paper, how="left", on=CELL, validate="many_to_one")
    rows["top1_difference"] = rows.top1 - rows.paper_top1 if same_images else np.nan
    rows["drop_difference"] = rows["drop"] - rows.paper_drop if same_images else np.nan
    return rows


def comparison_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `compare` as text: two decimals, blanks for unknown numbers."""
    return pd.DataFrame(
        {
            "data set": rows.dataset,
            "model": rows.model,
            "method": rows.method,
            "bits": bits_shown(rows),
            "FP32": decimals(rows.top1_fp32),
            "top-1": decimals(rows.top1),
            "drop": interval_shown(rows["drop"], rows.drop_low, rows.drop_high),
            "paper: FP32": decimals(rows.paper_fp32),
            "paper: top-1": decimals(rows.paper_top1),
            "paper: drop": decimals(rows.paper_drop),
            "top-1, minus the paper's": decimals(rows.top1_difference),
            "drop, minus the paper's": decimals(rows.drop_difference),
        }
    )


def _coverage(rows: pd.DataFrame) -> str:
    return f"{rows.paper_top1.notna().sum()} of these {len(rows)} cells have a published counterpart." if len(rows) else ""


def _other_images(images: int) -> str:
    return f"These {images:,} images are not ImageNet's whole validation set of {IMAGENET_VALIDATION_IMAGES:,}: nothing is subtracted."


def whole_methods(methods: MethodCatalog) -> set[str]:
    """Return all methods except the steps of the ablation that are no method of their own."""
    return set(methods.labels) - (set(methods.steps) - set(HEADLINE))
