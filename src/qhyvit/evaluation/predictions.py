"""Predictions of networks on images."""

from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file
from torch import Tensor

from qhyvit.own_files import written_by


class Predictions(NamedTuple):
    """Logits [N, classes] of each network and labels [N] of all images, and the device that the networks ran on."""

    logits: list[Tensor]
    labels: Tensor
    device: str


def read_reference(path: Path) -> Tensor:
    """Return the logits [N, classes] of an FP32 network, which `qhyvit evaluate` wrote. Raises InputError for any other file."""
    with written_by(path, "`qhyvit evaluate` without --quantized"):
        return load_file(path)["logits"]
