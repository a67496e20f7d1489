"""Logarithmic quantization of probabilities: x in [0, delta] is represented by the integer q = round(-k log2(x / delta)).

k = 1 is the log2 quantizer of Lin et al., "FQ-ViT: Post-Training Quantization for Fully Quantized Vision Transformer", IJCAI 2022
(arXiv 2111.13824), whose default for attention is 4 bits with delta = 1; k = 2 the log-sqrt2 quantizer of Li et al., "RepQ-ViT: Scale
Reparameterization for Post-Training Quantization of Vision Transformers", ICCV 2023 (arXiv 2212.08254), which searches delta.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.checks import check_bits, check_integers, check_scale

NAMES = {1: "log2", 2: "log sqrt2"}


@dataclass(frozen=True)
class LogQuantizer(Quantizer):
    """Per-tensor quantizer to the values delta 2^(-q / k) for q = 0..2^b-1, and 0; k is ``steps_per_octave``, 1 or 2.

    ``delta``, the largest value, is float32 of shape []. The 0 is one value more than b bits hold: both released codes keep it in a mask
    next to the integers.
    """

    bits: int
    steps_per_octave: int
    delta: Tensor

    def __post_init__(self) -> None:
        check_bits(self.bits)
        check_scale(self.delta)
        if self.steps_per_octave not in NAMES:
            raise ValueError(f"steps per octave must be 1 or 2, not {self.steps_per_octave}")

    def describe(self) -> str:
        """Name the kind by the base of its logarithm."""
        return NAMES[self.steps_per_octave]

    def quantize(self, x: Tensor) -> Tensor:
        """Return the integers that represent ``x``, as floats: 0 from delta up, 2^b for values of 0, below 0, or too small."""
        octaves = torch.log2(x.clamp(min=0) / self.delta)
        return torch.round(-self.steps_per_octave * octaves).clamp(0, 2**self.bits)

    def dequantize(self, q: Tensor) -> Tensor:
        """Return the real values that the integers ``q`` represent. Raises ValueError when one is not an integer in [0, 2^b]."""
        check_integers(q, 0, 2**self.bits)
        return self._values(q)

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return the values nearest to ``x`` by the logarithm: dequantize(quantize(x))."""
        return self._values(self.quantize(x))

    def _values(self, q: Tensor) -> Tensor:
        return torch.where(q == 2**self.bits, 0.0, self.delta * torch.exp2(-q / self.steps_per_octave))
