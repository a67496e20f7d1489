"""Twin uniform quantization: two uniform grids, for values below and above a boundary, and one bit that selects the grid.

Yuan et al., "PTQ4ViT: Post-training Quantization for Vision Transformers with Twin Uniform Quantization", ECCV 2022
(arXiv 2111.12293), Section 3.2; limits and steps are those of the released code.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.checks import check_bits, check_integers, check_scale

GELU_MINIMUM = -0.16997124254703522  # as PTQ4ViT's code has it; correct to seven digits
SILU_MINIMUM = -0.27846454276107


@dataclass(frozen=True)
class TwinUniformQuantizer(Quantizer):
    """Per-tensor quantizer with two grids of b - 1 bits each, with float32 scales of shape [].

    With Q = 2^(b - 1), values from ``boundary`` up take the multiples 0..Q-1 of ``high_scale``. Those below take the multiples of
    ``low_scale``: -Q..0 for a boundary of 0 (the negative half), else 0..Q-1.
    """

    bits: int
    boundary: float
    low_scale: Tensor
    high_scale: Tensor

    def __post_init__(self) -> None:
        check_bits(self.bits)
        check_scale(self.low_scale)
        check_scale(self.high_scale)
        if not self.boundary >= 0:
            raise ValueError(f"the boundary must not be below 0, but is {self.boundary}")

    def describe(self) -> str:
        """Name the kind."""
        return "twin"

    def quantize(self, x: Tensor) -> Tensor:
        """Return the codes 0..2^b-1 that represent ``x``, as floats of the same shape.

        The most significant bit is 1 on the high grid; the others are the integer modulo Q. A negative value that rounds to 0 takes the
        0 of the high grid, since Q codes hold no more than -Q..-1.
        """
        smallest, largest = self._low_limits
        low = torch.round(x / self.low_scale).clamp(smallest, largest) - smallest
        high = torch.round(x / self.high_scale).clamp(0, self._half - 1) + self._half
        return torch.where(x < self.boundary, low, high)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the real values that ``codes`` represent. Raises ValueError when one is not an integer in [0, 2^b - 1]."""
        check_integers(codes, 0, 2**self.bits - 1)
        return self._values(codes)

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return the values nearest to ``x``, each on the grid of its side of the boundary: dequantize(quantize(x))."""
        return self._values(self.quantize(x))

    @property
    def _half(self) -> int:
        return 2 ** (self.bits - 1)

    @property
    def _low_limits(self) -> tuple[int, int]:
        return (0, self._half - 1) if self.boundary > 0 else (-self._half, 0)

    def _values(self, codes: Tensor) -> Tensor:
        low = (codes + self._low_limits[0]) * self.low_scale
        return torch.where(codes < self._half, low, (codes - self._half) * self.high_scale)


@dataclass(frozen=True)
class AddedTwinUniformQuantizer(TwinUniformQuantizer):
    """Twin quantizer of probabilities as in PTQ4ViT's code, unlike its paper: every code represents the sum of a value on each grid.

    The code clips a value to either side of the boundary, rounds both to their grids and adds them. So a value from the boundary up
    becomes larger by the boundary, and one below it larger by the boundary on the high grid, which is 0 for small boundaries.
    """

    def describe(self) -> str:
        """Name the kind."""
        return "added twin"

    def _values(self, codes: Tensor) -> Tensor:
        boundary_on_high_grid = round(self.boundary * (self._half - 1)) * self.high_scale
        return super()._values(codes) + torch.where(codes < self._half, boundary_on_high_grid, self.boundary)


def after_softmax(split: float, bits: int, kind: type[TwinUniformQuantizer] = TwinUniformQuantizer) -> TwinUniformQuantizer:
    """Return the quantizer of probabilities: [0, split) in steps of split / (Q - 1), [split, 1] in steps of 1 / (Q - 1).

    Raises ValueError unless 0 < split <= 1.
    """
    check_bits(bits)
    if not 0 < split <= 1:
        raise ValueError(f"the split must be above 0 and at most 1, not {split}")
    largest = 2 ** (bits - 1) - 1
    return kind(bits, split, low_scale=torch.tensor(split / largest), high_scale=torch.tensor(1 / largest))


def after_activation(lowest: float, positive_scale: Tensor, bits: int) -> TwinUniformQuantizer:
    """Return the quantizer of a GELU's or SiLU's output: [lowest, 0) in steps of |lowest| / Q, the rest in steps of ``positive_scale`` [].

    ``lowest`` is the function's minimum; PTQ4ViT uses GELU's for all. Raises ValueError unless it is negative and the scale positive.
    """
    if not lowest < 0:
        raise ValueError(f"the lowest value must be negative, not {lowest}")
    return TwinUniformQuantizer(bits, 0.0, low_scale=torch.tensor(-lowest / 2 ** (bits - 1)), high_scale=positive_scale)
