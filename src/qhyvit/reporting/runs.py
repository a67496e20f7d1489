"""All results of a run as one table, with intervals, and as metrics for `dvc metrics diff`."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qhyvit.errors import InputError
from qhyvit.evaluation.statistics import drop_interval

COLUMNS = [
    *("dataset", "model", "family", "method", "mode", "w_bits", "a_bits", "seed", "images"),
    *("top1", "top5", "top1_fp32", "drop", "drop_low", "drop_high", "kl"),
]
FP32 = "fp32"
KEY = ["dataset", "model", "mode", "method", "w_bits", "a_bits", "seed"]  # names a run


def results_table(paths: list[Path]) -> pd.DataFrame:
    """One row a result file; accuracies and drops in percent, the drop against the FP32 result of the same model."""
    return tabulated([read_result(path) for path in paths])


def read_result(path: Path) -> dict[str, Any]:
    """What `qhyvit evaluate` wrote to ``path``. Raises InputError for any other file."""
    try:
        result: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); give what `qhyvit evaluate` wrote") from error
    if not isinstance(result, dict) or "correct" not in result:
        raise InputError(f"{path}: not the result of a run; give what `qhyvit evaluate` wrote")
    return result


def tabulated(results: list[dict[str, Any]]) -> pd.DataFrame:
    """The same of what the files hold. Raises InputError where the FP32 result of a model is missing."""
    references = {(result["dataset"], result["model"]): result for result in results if result["method"] == FP32}
    for result in results:
        if (result["dataset"], result["model"]) not in references:
            raise InputError(f"{result['model']} on {result['dataset']}: no FP32 result among those given; give its fp32.json too")
    rows = [_row(result, references[result["dataset"], result["model"]]) for result in results]
    return in_order(pd.DataFrame(rows, columns=COLUMNS))


def in_order(runs: pd.DataFrame) -> pd.DataFrame:
    """Sorted by their key, the widest bits first."""
    return runs.sort_values(KEY, ascending=[True, True, True, True, False, False, True], ignore_index=True)


def write_results(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, numbers with six significant digits."""
    table.to_csv(path, index=False, float_format="%.6g")


def read_results(path: Path | StringIO) -> pd.DataFrame:
    """Read back what `write_results` wrote."""
    return pd.read_csv(path, keep_default_na=True, dtype={"mode": "string"}).fillna({"mode": ""})


def metrics_tree(table: pd.DataFrame) -> dict[str, Any]:
    """``{dataset: {model: {method-mode: {w8a8: {top1, drop}}}}}``, the mean over seeds, with ``{fp32: {top1}}`` beside the methods."""
    tree: dict[str, Any] = {}
    means = table.groupby(["dataset", "model", "method", "mode", "w_bits", "a_bits"], as_index=False)[["top1", "drop"]].mean().round(4)
    for row in means.to_dict("records"):
        methods = tree.setdefault(row["dataset"], {}).setdefault(row["model"], {})
        if row["method"] == FP32:
            methods[FP32] = {"top1": row["top1"]}
        else:
            bits = methods.setdefault(f"{row['method']}-{row['mode']}", {})
            bits[f"w{row['w_bits']}a{row['a_bits']}"] = {"top1": row["top1"], "drop": row["drop"]}
    return tree


def _row(result: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    row = {name: result.get(name) for name in COLUMNS} | {"top1_fp32": reference["top1"]}
    if result["method"] == FP32:
        return row
    low, high = drop_interval(hits(reference), hits(result))
    return row | {"drop": reference["top1"] - result["top1"], "drop_low": low, "drop_high": high}


def hits(result: dict[str, Any]) -> np.ndarray:
    """Whether each image was classified correctly: bool [N]."""
    return np.array([hit == "1" for hit in result["correct"]])
