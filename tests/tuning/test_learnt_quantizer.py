"""Learnt quantizers round like those that they become, and have the gradients of LSQ."""

from dataclasses import replace

import pytest
import torch

from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.tuning.learnt_quantizer import LearntQuantizer

SCALE, ZERO_POINT = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.0, 3.0, 7.0])
QUANTIZERS = {
    "per tensor": UniformQuantizer(3, "symmetric", torch.tensor(0.2), torch.tensor(0.0)),
    "per channel": UniformQuantizer(3, "asymmetric", SCALE, ZERO_POINT, axis=1),
    "rescaled": RescaledWeightQuantizer(3, "symmetric", SCALE, torch.zeros(3), torch.tensor([0.5, 1.0, 2.0])),
}
X = torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("common", [False, True])
def test_learnt_quantizer_rounds_like_the_quantizer_that_it_becomes(name, common):
    learnt = LearntQuantizer(QUANTIZERS[name], common=common)
    torch.testing.assert_close(learnt(X), QUANTIZERS[name].fake_quantize(X))
    learnt.log_multiplier.data.fill_(0.3)
    torch.testing.assert_close(learnt.quantizer().scale, QUANTIZERS[name].scale * torch.tensor(0.3).exp())
    torch.testing.assert_close(learnt(X), learnt.quantizer().fake_quantize(X))


def naive(x, start, scale):
    """Fake quantization of x by autograd alone: the rounding is the identity to it, and clipped values are constants."""
    shape = [1 if start.axis is None else -1 if index == start.axis else 1 for index in range(x.ndim)]
    scale, zero_point = scale.view(shape), start.zero_point.double().view(shape)
    low, high = (limit - zero_point for limit in start.limits)
    steps = x / scale
    integers = steps + (steps.round() - steps).detach()
    return torch.where(integers.round() < low, low, torch.where(integers.round() > high, high, integers)) * scale


@pytest.mark.parametrize("name", ["per tensor", "per channel"])
def test_gradients_are_those_of_autograd_through_the_identity(name):
    start, weights = QUANTIZERS[name], torch.randn(X.shape, dtype=torch.float64)
    x = X.double().requires_grad_(True)
    learnt = LearntQuantizer(replace(start, scale=start.scale.double(), zero_point=start.zero_point.double())).double()
    found = torch.autograd.grad((learnt(x) * weights).sum(), (x, learnt.log_multiplier))
    log_multiplier = torch.zeros(start.scale.shape, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad((naive(x, start, start.scale.double() * log_multiplier.exp()) * weights).sum(), (x, log_multiplier))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_gradient_of_the_scale_is_the_slope_where_all_values_are_clipped():
    """There the result is smooth in the scale, so that finite differences tell its slope."""
    learnt = LearntQuantizer(UniformQuantizer(3, "symmetric", torch.tensor(0.01), torch.tensor(0.0)))
    x = torch.tensor([1.0, 2.0, -3.0])
    (gradient,) = torch.autograd.grad(learnt(x).sum(), learnt.log_multiplier)
    step, sums = 1e-3, []
    for sign in (1, -1):
        learnt.log_multiplier.data.fill_(sign * step)
        sums.append(float(learnt(x).detach().double().sum()))
    assert float(gradient) == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-3)
