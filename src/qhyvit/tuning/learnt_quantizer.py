"""Uniform quantizer with a scale that is learnt, by gradients that pass through the rounding as if it were the identity.

The gradient of the scale is that of LSQ (Esser et al., arXiv 1902.08153, Equation 3), times the scale, since its logarithm is learnt.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qhyvit.quantizers.base import parameters
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer


class LearntQuantizer(nn.Module):
    """Fake quantization that starts as ``start`` and learns a multiplier per scale, or one ``common`` to all scales."""

    def __init__(self, start: UniformQuantizer | RescaledWeightQuantizer, *, common: bool = False) -> None:
        super().__init__()
        tensors = {name: value.clone() for name, value in parameters(start).items() if isinstance(value, Tensor)}
        self.start = replace(start, **tensors)  # type: ignore[arg-type]  # searches leave tensors that autograd cannot use
        self.log_multiplier = nn.Parameter(torch.zeros([] if common else start.scale.shape, device=start.scale.device))

    def quantizer(self) -> UniformQuantizer | RescaledWeightQuantizer:
        """Return the quantizer with the scales learnt so far."""
        return replace(self.start, scale=self._scale().detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return the fake-quantized values, of the shape of ``x``."""
        if not isinstance(self.start, RescaledWeightQuantizer):
            return self._fake_quantize(x, self.start.axis)
        channel_rescale = self.start.channel_rescale.view(-1, *[1] * (x.ndim - 2))
        return self._fake_quantize(x * channel_rescale, axis=0) / channel_rescale

    def _scale(self) -> Tensor:
        return self.start.scale * self.log_multiplier.exp()

    def _fake_quantize(self, x: Tensor, axis: int | None) -> Tensor:
        shape = [1] * x.ndim
        if axis is not None:
            shape[axis] = -1
        scale, zero_point = self._scale().view(shape), self.start.zero_point.view(shape)
        qmin, qmax = self.start.limits
        fake_quantized: Tensor = _StraightThrough.apply(x, scale, qmin - zero_point, qmax - zero_point)
        return fake_quantized


class _StraightThrough(torch.autograd.Function):
    """Rounding of x / scale, clamped to [low, high], times scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        fake_quantized = _clamp(torch.div(x, scale).round_(), low, high).mul_(scale)
        ctx.save_for_backward(x, fake_quantized, scale, low, high)
        return fake_quantized

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, fake_quantized, scale, low, high = ctx.saved_tensors
        least, most = (low - 0.5) * scale, (high + 0.5) * scale  # values between them are not clamped
        if scale.numel() == 1:  # one pass over the values; the other way takes three
            of_x = torch.ops.aten.hardtanh_backward(gradient, x, float(least), float(most))
        else:
            of_x = _clamp(x.clone(), least, most).eq_(x).mul_(gradient)
        of_scale = (gradient * fake_quantized).addcmul_(of_x, x, value=-1).sum_to_size(scale.shape) / scale
        return of_x, of_scale, None, None


def _clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x, low, out=x), high, out=x)
