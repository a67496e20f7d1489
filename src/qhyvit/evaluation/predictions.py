"""Predictions of networks on images."""

from typing import NamedTuple

from torch import Tensor


class Predictions(NamedTuple):
    """Logits [N, classes] of each network and labels [N] of all images, and the device that the networks ran on."""

    logits: list[Tensor]
    labels: Tensor
    device: str
