"""Weight quantizer of a layer that has taken over the scales of its input's channels: uniform per output channel after the rescaling.

An input that is quantized as x_c / r_c on one grid needs the weight W_c r_c. Dividing by r_c again turns both into quantizers of the
unchanged x and W: a uniform one per channel for the input, with the scales s r_c, and this one for the weight. So RepQ-ViT (arXiv
2212.08254, Section 3.2) moves r_c into the norm before the layer, and HyQ (IJCAI 2024) into the input's own rounding.
"""

from dataclasses import dataclass

from torch import Tensor

from qhyvit.config.base import Scheme
from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.uniform import UniformQuantizer


@dataclass(frozen=True)
class RescaledWeightQuantizer(Quantizer):
    """A b-bit grid for each of the O output channels of W_c r_c, for a weight [O, K, ...] of a layer without groups.

    ``scale`` and ``zero_point`` [O] are as in `UniformQuantizer`; ``channel_rescale`` [K] holds the r_c. All are float32. Raises
    ValueError unless all r_c are positive numbers.
    """

    bits: int
    scheme: Scheme
    scale: Tensor
    zero_point: Tensor
    channel_rescale: Tensor

    def __post_init__(self) -> None:
        self._uniform.__post_init__()
        if self.channel_rescale.ndim != 1 or not bool(((self.channel_rescale > 0) & self.channel_rescale.isfinite()).all()):
            raise ValueError("channel_rescale must be positive numbers, one per input channel")

    def describe(self) -> str:
        """Name the kind, with granularity and scheme."""
        return f"rescaled {self._uniform.describe()}"

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer of the grid."""
        return self._uniform.limits

    def quantize(self, weight: Tensor) -> Tensor:
        """Return the integers that represent ``weight``, as floats of the same shape."""
        return self._uniform.quantize(weight * self._spread(weight))

    def dequantize(self, q: Tensor) -> Tensor:
        """Return the real weights that the integers ``q`` represent. Raises ValueError when one is not an integer of the grid."""
        return self._uniform.dequantize(q) / self._spread(q)

    def fake_quantize(self, weight: Tensor) -> Tensor:
        """Return the weights nearest to ``weight`` on the grid: dequantize(quantize(weight))."""
        channel_rescale = self._spread(weight)
        return self._uniform.fake_quantize(weight * channel_rescale) / channel_rescale

    @property
    def _uniform(self) -> UniformQuantizer:
        return UniformQuantizer(self.bits, self.scheme, self.scale, self.zero_point, axis=0)

    def _spread(self, weight: Tensor) -> Tensor:
        return self.channel_rescale.view(-1, *[1] * (weight.ndim - 2))
