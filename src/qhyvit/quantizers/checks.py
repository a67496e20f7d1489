"""Checks of the bits, scales and integers of quantizers."""

import math

from torch import Tensor


def check_bits(bits: int) -> None:
    """Raise ValueError unless ``bits`` is 2 to 8."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2 to 8, not {bits}")


def check_scale(scale: Tensor) -> None:
    """Raise ValueError unless ``scale`` is one positive number, as a tensor of no dimensions."""
    if scale.ndim > 0 or not 0 < float(scale) < math.inf:
        raise ValueError(f"a scale must be one positive number, not {scale.tolist()}")


def check_integers(q: Tensor, low: int, high: int) -> None:
    """Raise ValueError unless every element of ``q`` is an integer in [low, high]."""
    if not bool(((q == q.round()) & (q >= low) & (q <= high)).all()):
        raise ValueError(f"not integers in [{low}, {high}]")
