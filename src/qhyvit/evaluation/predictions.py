"""Predictions of networks on images."""

from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file
from torch import Tensor

from qhyvit.errors import InputError
from qhyvit.own_files import require, written_by


class Predictions(NamedTuple):
    """Logits [N, classes] of each network and labels [N] of all images, and the device that the networks ran on."""

    logits: list[Tensor]
    labels: Tensor
    device: str


def read_reference(path: Path, found: Tensor) -> Tensor:
    """Return the logits of an FP32 network that `qhyvit evaluate` wrote, to compare with those ``found`` [N, classes] on the same images.

    Raises InputError for any other file, and for logits of other images or classes.
    """
    with written_by(path, "`qhyvit evaluate` without --quantized"):
        logits = load_file(path)["logits"]
        require(logits.is_floating_point() and bool(logits.isfinite().all()), "its logits are not finite")
    if logits.shape != found.shape:
        raise InputError(f"{path}: has logits {list(logits.shape)}, not {list(found.shape)}; give those of the same images and classes")
    return logits
