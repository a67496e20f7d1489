"""Operands that stay in FP32, stated as such in files and tables."""

from dataclasses import dataclass

from torch import Tensor

from qhyvit.quantizers.base import Quantizer

FP32_BITS = 32


@dataclass(frozen=True)
class FloatingPoint(Quantizer):
    """Identity: the operand keeps its float32 values, which no integers represent."""

    bits: int = FP32_BITS

    def describe(self) -> str:
        """Name the kind."""
        return "FP32"

    def quantize(self, x: Tensor) -> Tensor:
        """Return ``x``: there are no integers."""
        return x

    def dequantize(self, q: Tensor) -> Tensor:
        """Return ``q``."""
        return q

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x
