"""Consistency of the results that are gathered in one table: each run once, all of a model on the same weights and images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qhyvit.errors import InputError
from qhyvit.files import file_sha256
from qhyvit.reporting.catalog import FP32
from qhyvit.reporting.runs import KEY, evaluated_inputs

Result = Mapping[str, Any]
FP32_KEY = ["dataset", "model", "method"]  # an unquantized network has one result
COMPARED = ("weights", "images")


def check_consistent(paths: Sequence[Path], results: Sequence[Result], manifest: Path) -> None:
    """Raise InputError if a run is among the ``results`` twice, or was not evaluated as the FP32 network and on the ``manifest``.

    ``paths`` are the files of the results, for messages. Results without a record of their inputs are not compared.
    """
    files: dict[tuple[Any, ...], Path] = {}
    for path, result in zip(paths, results, strict=True):
        run = tuple(result[name] for name in (FP32_KEY if result["method"] == FP32 else KEY))
        if run in files:
            raise InputError(f"{path}: a result of the same run as {files[run]} ({_described(result)}); give one of them")
        files[run] = path
    references = {(result["dataset"], result["model"]): result for result in results if result["method"] == FP32}
    images = file_sha256(manifest)
    for path, result in zip(paths, results, strict=True):
        _check_inputs(path, result, references.get((result["dataset"], result["model"]), {}), manifest, images)


def _check_inputs(path: Path, result: Result, reference: Result, manifest: Path, images: str) -> None:
    inputs, expected = evaluated_inputs(result), evaluated_inputs(reference)
    for name in COMPARED:
        if name in inputs and inputs[name] != expected.get(name, inputs[name]):
            raise InputError(f"{path}: evaluated on other {name} than the FP32 result of {result['model']}; evaluate both again")
    if inputs.get("images", images) != images:
        raise InputError(f"{path}: evaluated on the images of another manifest than {manifest}; give its own, or evaluate again")


def _described(result: Result) -> str:
    """Return a run in words: net on tiny, minmax, W4A4, seed 0."""
    run = [f"{result['model']} on {result['dataset']}", result["method"]]
    if result["method"] != FP32:
        run += [result["mode"], f"W{result['w_bits']}A{result['a_bits']}", f"seed {result['seed']}"]
    return ", ".join(run)
