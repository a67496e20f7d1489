"""Results of runs as one table, with intervals, in one order, and as metrics for `dvc metrics diff`."""

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from math import isclose, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qhyvit.config.base import LARGEST_SEED
from qhyvit.errors import InputError
from qhyvit.evaluation.statistics import drop_interval
from qhyvit.own_files import of_another_kind, require
from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.read import read_table

BITS = ["w_bits", "a_bits"]
CELL = ["model", "mode", "method", *BITS]  # names a cell of a table, published or ours
KEY = ["dataset", *CELL, "seed"]  # names a run
COLUMNS = [
    *("dataset", "model", "family", "method", "mode", "w_bits", "a_bits", "seed", "images"),
    *("top1", "top1_fp32", "drop", "drop_low", "drop_high", "kl"),
]
MEANS = ["top1", "top1_fp32", "drop"]
MODES = ["", "partial", "full"]
TEXTS, WHOLE = ("dataset", "model", "family", "method"), (*BITS, "seed", "images")
MOST_IMAGES = 10**9
FP32_BITS, QUANTIZED_BITS = range(32, 33), range(2, 9)


def read_result(path: Path) -> dict[str, Any]:
    """Read the result of a run that `qhyvit evaluate` wrote. Raises InputError for any other file."""
    with of_another_kind(lambda said: f"{path}: cannot be read as JSON ({said}); give an output of `qhyvit evaluate`"):
        result: dict[str, Any] = json.loads(path.read_text())
    if not isinstance(result, dict) or "correct" not in result:
        raise InputError(f"{path}: not the result of a run; give an output of `qhyvit evaluate`")
    with of_another_kind(lambda said: f"{path}: not the result of a run ({said}); give an output of `qhyvit evaluate`"):
        require(all(result[name].isprintable() for name in (*TEXTS, "mode", "correct")), "a name is no text of one line")
        require(all(type(result[name]) is int for name in WHOLE), "a number is not whole")
        require(0 < len(result["correct"]) == result["images"], "it has not a digit per image")
        require(result["mode"] in MODES and set(result["correct"]) <= {"0", "1"}, "mode or correct has other values")
        require((result["mode"] == "") == (result["method"] == FP32), "a mode is for quantized networks alone")
        _check_numbers(result)
        require(isinstance(evaluated_inputs(result), Mapping), "it has no hashes of its inputs")
    return result


def _check_numbers(result: dict[str, Any]) -> None:
    """Raise an error of FAULTS for a number of a result that `qhyvit evaluate` does not write."""
    known = FP32_BITS if result["method"] == FP32 else QUANTIZED_BITS
    require(all(result[name] in known for name in BITS), f"w_bits or a_bits of {result['method']} is none of {known[0]} to {known[-1]}")
    require(0 <= result["seed"] <= LARGEST_SEED, f"seed {result['seed']} is none of 0 to {LARGEST_SEED}")
    share = 100 * result["correct"].count("1") / result["images"]
    require(isclose(result["top1"], share, abs_tol=1e-9), f"top1 is {result['top1']}, but {share:g} % of the images are correct")
    require(result.get("kl") is None or isfinite(result["kl"]), f"kl is {result.get('kl')}")


def evaluated_inputs(result: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the hashes of the files that a result was evaluated on: weights, images and others; none if it has no record."""
    record = result.get("evaluated") or result.get("provenance") or {}
    inputs: Mapping[str, str] = record.get("inputs", {})
    return inputs


def correct_images(result: dict[str, Any]) -> np.ndarray:
    """Return which images a run classified correctly: bool [N]."""
    return np.array([digit == "1" for digit in result["correct"]])


def tabulate(results: list[dict[str, Any]], methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per result, with COLUMNS; accuracies and drops in percent, the drop against the FP32 result of the same model.

    Raises InputError if the FP32 result of a model is missing.
    """
    references = {(result["dataset"], result["model"]): result for result in results if result["method"] == FP32}
    for result in results:
        if (result["dataset"], result["model"]) not in references:
            raise InputError(f"{result['model']} on {result['dataset']}: no FP32 result among the given files; give its fp32.json too")
    rows = [_row(result, references[result["dataset"], result["model"]]) for result in results]
    return in_order(pd.DataFrame(rows, columns=COLUMNS), methods)


def in_order(rows: pd.DataFrame, methods: MethodCatalog, by: Sequence[str] = KEY) -> pd.DataFrame:
    """Sort by the columns ``by``: methods as in their file, partial mode before full, the widest bits first, all else ascending."""

    def rank(column: "pd.Series[Any]") -> "pd.Series[Any]":
        if column.name in ("method", "baseline"):
            return column.map({name: place for place, name in enumerate(methods.order(column))})
        return column.map(MODES.index) if column.name == "mode" else column

    ascending = [name not in BITS for name in by]
    return rows.sort_values(list(by), ascending=ascending, key=rank, kind="stable", ignore_index=True)


def write_results(table: pd.DataFrame, path: Path) -> None:
    """Write results.csv, numbers with six significant digits."""
    table.to_csv(path, index=False, float_format="%.6g")


def read_results(source: Path | StringIO) -> pd.DataFrame:
    """Read results.csv."""
    return read_table(source)


def check_runs(table: pd.DataFrame) -> None:
    """Raise an error of FAULTS unless a results.csv holds runs, each once."""
    require(isinstance(table.index, pd.RangeIndex) and len(table) > 0, "it has no rows of as many values as its header")
    require(all(map(pd.api.types.is_integer_dtype, table[list(WHOLE)].dtypes)), f"{', '.join(WHOLE)} are not all whole numbers")
    require(not (table[list(TEXTS)] == "").any(axis=None) and not table.duplicated(KEY).any(), "a run lacks its name or is there twice")
    require(bool(table.images.between(1, MOST_IMAGES).all() and table.top1.between(0, 100).all()), "images or top1 is no such number")
    table[[*MEANS, "drop_low", "drop_high", "kl"]].astype(float)


def quantized_runs(results: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Return the quantized runs in ``mode``, with their bit-width as text in the column ``bits``. Raises InputError if there are none."""
    rows = results[(results.method != FP32) & (results["mode"] == mode)]
    if rows.empty:
        raise InputError(f"results.csv: no run is in mode {mode!r}; choose another mode, or add it to the experiment")
    return rows.assign(bits=bits_shown(rows))


def seed_means(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per data set and CELL of the quantized ``runs``: MEANS over seeds."""
    quantized = runs[runs.method != FP32]
    return quantized.groupby(["dataset", *CELL], as_index=False)[MEANS].mean()


def bits_shown(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the bit-widths of ``rows`` as text: W8A8."""
    return "W" + rows.w_bits.astype(str) + "A" + rows.a_bits.astype(str)


def bit_widths(rows: pd.DataFrame) -> list[Any]:
    """Return the distinct ``bits`` of rows, the widest first."""
    return list(rows.sort_values(BITS, ascending=False).bits.unique())


def metrics_tree(table: pd.DataFrame) -> dict[str, Any]:
    """Return ``{dataset: {model: {method-mode: {w8a8: {top1, drop}}}}}``, means over seeds, with ``{fp32: {top1}}`` next to the methods."""
    tree: dict[str, Any] = {}
    means = table.groupby(["dataset", *CELL], as_index=False)[["top1", "drop"]].mean().round(4)
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
    if len(result["correct"]) != len(reference["correct"]):
        raise InputError(f"{result['model']} on {result['dataset']}: {result['method']} and fp32 are on other images; evaluate both again")
    low, high = drop_interval(correct_images(reference), correct_images(result))
    return row | {"drop": reference["top1"] - result["top1"], "drop_low": low, "drop_high": high}
