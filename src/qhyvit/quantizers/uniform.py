"""Uniform affine quantization: x is represented by the integer q = clamp(round(x / scale) + zero_point, qmin, qmax).

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, Section 2.1;
in the notation of Q-HyViT (arXiv 2303.12557), Section III.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from qhyvit.config.base import Scheme, ZeroPoint
from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.checks import check_bits, check_integers

SMALLEST_SCALE = torch.finfo(torch.float32).eps  # a dead channel has range 0; its scale must not be


@dataclass(frozen=True)
class UniformQuantizer(Quantizer):
    """A b-bit grid per quantization unit (the tensor, a channel or a head).

    ``scale`` and ``zero_point`` are float32 of one shape: [] per tensor, [C] for the C slices along ``axis``. Symmetric grids
    are signed with zero point 0; asymmetric grids are unsigned, and 0 is always one of their points.
    """

    bits: int
    scheme: Scheme
    scale: Tensor
    zero_point: Tensor
    axis: int | None = None

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if self.scale.shape != self.zero_point.shape or (self.scale.ndim == 0) != (self.axis is None):
            raise ValueError(
                f"scale {list(self.scale.shape)}, zero point {list(self.zero_point.shape)} and axis {self.axis} do not fit together"
            )

    @classmethod
    def covering(
        cls, low: Tensor, high: Tensor, bits: int, scheme: Scheme, axis: int | None = None, zero_point: ZeroPoint = "widened"
    ) -> Self:
        """Return the quantizer whose grids cover the ranges [low, high], [] or one per channel [C] along ``axis``, and 0.

        A range on one side of 0 is not covered if the zero point is "saturated".
        """
        return cls(bits, scheme, *GRIDS[zero_point](low, high, bits, scheme), axis)

    def describe(self) -> str:
        """Name the granularity and the scheme."""
        return f"{'per-tensor' if self.axis is None else 'per-channel'} {self.scheme}"

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer of the grid."""
        return grid_limits(self.bits, self.scheme)

    def quantize(self, x: Tensor) -> Tensor:
        """Return the integers that represent ``x``, as floats of the same shape."""
        scale, zero_point = self._broadcast(x.ndim)
        return torch.clamp(torch.round(x / scale) + zero_point, *self.limits)

    def dequantize(self, q: Tensor) -> Tensor:
        """Return the real values that the integers ``q`` represent. Raises ValueError when one is not an integer of the grid."""
        check_integers(q, *self.limits)
        scale, zero_point = self._broadcast(q.ndim)
        return (q - zero_point) * scale

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return the values nearest to ``x`` on the grid: dequantize(quantize(x))."""
        scale, zero_point = self._broadcast(x.ndim)
        return fake_quantize(x, scale, zero_point, *self.limits)

    def _broadcast(self, ndim: int) -> tuple[Tensor, Tensor]:
        if self.axis is None:
            return self.scale, self.zero_point
        shape = [1] * max(ndim, -self.axis)
        shape[self.axis] = -1
        return self.scale.view(shape), self.zero_point.view(shape)


def grid_limits(bits: int, scheme: Scheme) -> tuple[int, int]:
    """Return the smallest and the largest integer: two's complement when symmetric, unsigned when asymmetric."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if scheme == "symmetric" else (0, 2**bits - 1)


def range_to_grid(low: Tensor, high: Tensor, bits: int, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Return scale and zero point, of the shape of ``low`` and ``high``, of the grid that just covers [low, high] and 0.

    A range on one side of 0 is widened to contain it. Otherwise its zero point would leave the grid (the zero-point overflow of
    Q-HyViT, Section III) and zero padding would not be exact.
    """
    return saturated_grid(low.clamp(max=0), high.clamp(min=0), bits, scheme)


def saturated_grid(low: Tensor, high: Tensor, bits: int, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Return scale and zero point of the width of [low, high], the zero point clamped to the grid, as in FQ-ViT's code (arXiv 2111.13824).

    For a range on one side of 0 an asymmetric grid is as wide as the range, but starts or ends at 0.
    """
    qmin, qmax = grid_limits(bits, scheme)
    if scheme == "symmetric":
        scale = _positive(torch.maximum(-low, high) / qmax)
        return scale, torch.zeros_like(scale)
    scale = _positive((high - low) / (qmax - qmin))
    return scale, torch.round(-low / scale).clamp(qmin, qmax)


def _positive(scale: Tensor) -> Tensor:
    """Replace scales that are 0, or too small next to others: those below `SMALLEST_SCALE`, or below that part of the largest one."""
    largest = scale.max()
    fine = (largest > 0) & (largest < SMALLEST_SCALE)
    return torch.maximum(scale, torch.where(fine, largest * SMALLEST_SCALE, SMALLEST_SCALE))


GRIDS: dict[ZeroPoint, Callable[[Tensor, Tensor, int, Scheme], tuple[Tensor, Tensor]]] = {
    "widened": range_to_grid,
    "saturated": saturated_grid,
}


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    """Fake-quantize ``x``; ``scale`` and ``zero_point`` broadcast against it."""
    # The integers are clamped before the zero point is added, which saves two passes over the data. clamp is slow with tensors, but fastest
    # with numbers, which suffice where all zero points are 0.
    q = torch.div(x, scale).round_()
    if not zero_point.any():
        return q.clamp_(qmin, qmax).mul_(scale)
    return torch.minimum(torch.maximum(q, qmin - zero_point, out=q), qmax - zero_point, out=q).mul_(scale)
