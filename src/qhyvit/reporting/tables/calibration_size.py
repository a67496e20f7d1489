"""Drops by the number of calibration images, over seeds: the paper reports neither."""

from typing import Any

import pandas as pd

from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.runs import CELL, bits_shown, in_order, read_result
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals

SIZED = ["dataset", *CELL, "calibration_images"]
SPREAD = {"count": "seeds", "mean": "drop", "std": "deviation", "min": "lowest", "max": "highest"}


def make(sources: Sources) -> Table:
    """Make the table from the results of all runs, FP32 included."""
    rows = by_size([read_result(path) for path in sources.all("evaluations")], sources.methods)
    return Table(rows, by_size_shown(rows))


def by_size(results: list[dict[str, Any]], methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per run and number of images: SPREAD of its drop in points over seeds. With one seed the deviation is NaN.

    ``results`` are those of `qhyvit evaluate`, FP32 included.
    """
    fp32 = {(result["dataset"], result["model"]): result["top1"] for result in results if result["method"] == FP32}
    rows = [
        result
        | {
            "calibration_images": len(result["provenance"]["calibrated"]["settings"]["images"]),
            "drop": fp32[result["dataset"], result["model"]] - result["top1"],
        }
        for result in results
        if result["method"] != FP32
    ]
    table = pd.DataFrame(rows).groupby(SIZED)["drop"].agg(list(SPREAD)).rename(columns=SPREAD).reset_index()
    return in_order(table, methods, SIZED)


def by_size_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `by_size` as text, with two decimals."""
    numbers = {name: decimals(rows[name]) for name in ("drop", "deviation", "lowest", "highest")}
    counts = {"calibration images": rows.calibration_images.astype(str), "seeds": rows.seeds.astype(str)}
    return pd.DataFrame({"model": rows.model, "mode": rows["mode"], "method": rows.method, "bits": bits_shown(rows)} | counts | numbers)
