"""Predictions of networks on images."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qhyvit.errors import InputError
from qhyvit.files import atomic_write, file_sha256
from qhyvit.own_files import require, written_by


class Predictions(NamedTuple):
    """Logits [N, classes] of each network and labels [N] of all images, and the device that the networks ran on."""

    logits: list[Tensor]
    labels: Tensor
    device: str


def save_reference(path: Path, predictions: Predictions, inputs: list[Path], preprocessing: dict[str, Any]) -> None:
    """Write the logits of an FP32 network; the header has the hashes of the ``inputs``, weights and manifest, and the ``preprocessing``."""
    with atomic_write(path) as temporary:
        save_file({"logits": predictions.logits[0], "labels": predictions.labels}, temporary, metadata=_header(inputs, preprocessing))


def read_reference(path: Path, found: Tensor, labels: Tensor, inputs: list[Path], preprocessing: dict[str, Any]) -> Tensor:
    """Return the logits of an FP32 network that `save_reference` wrote, to compare with those ``found`` [N, classes] on the same images.

    Raises InputError for any other file, and for logits of other classes, ``labels`` [N], ``inputs`` or ``preprocessing``.
    """
    with written_by(path, "`qhyvit evaluate` without --quantized"), safe_open(path, framework="pt") as file:
        logits, own_labels, metadata = file.get_tensor("logits"), file.get_tensor("labels"), file.metadata() or {}
        require(logits.is_floating_point() and bool(logits.isfinite().all()), "its logits are not finite")
    if logits.shape != found.shape:
        raise InputError(f"{path}: has logits {list(logits.shape)}, not {list(found.shape)}; give those of the same images and classes")
    if not own_labels.equal(labels) or _header(inputs, preprocessing).items() - metadata.items():
        raise InputError(f"{path}: of other weights, images or preprocessing; run `qhyvit evaluate` without --quantized again")
    return logits


def _header(inputs: list[Path], preprocessing: dict[str, Any]) -> dict[str, str]:
    """Return the header as one value: safetensors writes several in any order."""
    return {"header": json.dumps({"inputs": [file_sha256(path) for path in inputs], "preprocessing": preprocessing}, sort_keys=True)}
