"""Grids of inference engines: 256 integers of 8 bits, of which a quantizer of fewer bits uses a part.

A quantizer of b < 8 bits becomes a clamp to its range and 256 levels of its step: engines compute layers of 256 levels with integers, but
those of 64 or 128 in floating point. Its zero point vanishes, since q - z fits into signed 8 bits.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qhyvit.quantizers.uniform import UniformQuantizer

SIGNED, UNSIGNED = (-128, 127), (0, 255)


@dataclass(frozen=True)
class EngineGrid:
    """A grid of the integers ``limits``, with ``scale`` and ``zero_point``, [] or [C] along ``axis``, as in `UniformQuantizer`.

    The quantizer's values are the multiples of the scale from ``low`` to ``high``, also [] or [C].
    """

    scale: Tensor
    zero_point: Tensor
    low: Tensor
    high: Tensor
    limits: tuple[int, int]
    axis: int | None

    @property
    def clamps(self) -> bool:
        """True if the integers reach beyond the quantizer's values, to which the input must then be clamped."""
        smallest, largest = (limit - self.zero_point for limit in self.limits)
        return bool((smallest < self.low).any() or (largest > self.high).any())

    @property
    def has_several_zero_points(self) -> bool:
        """True if the channels differ in their zero points."""
        return bool((self.zero_point != self.zero_point.flatten()[0]).any())

    def signed(self) -> "EngineGrid":
        """Return the signed grid without zero points, for an input that is moved by zero point - 128 steps."""
        low, high = (torch.full_like(self.scale, limit) for limit in SIGNED)
        return replace(self, zero_point=torch.zeros_like(self.scale), low=low, high=high, limits=SIGNED)

    def with_one_scale(self, scale: Tensor) -> "EngineGrid":
        """Return the grid of the input divided by the channels' factors: it has the scale [] and the zero point of all channels."""
        return replace(self, scale=scale, zero_point=self.zero_point.flatten()[0])


def engine_grid(quantizer: UniformQuantizer, *, prefer_signed: bool = False) -> EngineGrid:
    """Return the grid that holds the quantizer's values; it has a zero point only where both kinds without one are too small."""
    low, high = (limit - quantizer.zero_point for limit in quantizer.limits)
    for limits in (SIGNED, UNSIGNED) if prefer_signed else (UNSIGNED, SIGNED):
        if bool((low >= limits[0]).all() and (high <= limits[1]).all()):
            return EngineGrid(quantizer.scale, torch.zeros_like(low), low, high, limits, quantizer.axis)
    return EngineGrid(quantizer.scale, quantizer.zero_point, low, high, quantizer.limits, quantizer.axis)
