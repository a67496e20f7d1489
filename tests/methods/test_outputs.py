"""The rules by which full mode chooses the quantizers of tensor sites."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_task
from torch import nn

from qhyvit.config.methods import MinmaxMethod
from qhyvit.graph.trace import trace
from qhyvit.methods.outputs import find_output_quantizers

BITS = 4
LEVELS = 2**BITS - 1


class Block(nn.Module):
    """One tensor of each kind that an elementwise operator reads, and an addition that a norm reads."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.norm = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.GroupNorm(2, 4)
        with torch.no_grad():
            self.first.weight *= torch.tensor([0.1, 0.3, 1.0, 8.0]).view(4, 1, 1, 1)

    def forward(self, x):
        return self.last(self.rounded(x)["norm.norm"].cos()).flatten(1)

    def rounded(self, x):
        y = self.first(x)
        activation, softmax = F.silu(y), y.softmax(3)
        add = activation.sin() * softmax.cos() + y
        return {"activation": activation, "softmax": softmax, "add": add, "norm.norm": self.norm(add)}


def settings(output_scale, percentile=100):
    plain = {"granularity": ["per_tensor"], "scheme": ["asymmetric"]}
    return MinmaxMethod(
        algorithm="minmax", weights=plain, activations=plain, matmuls=plain, output_scale=output_scale, percentile=percentile
    )


def quantized(rule, percentile=100):
    """The values of every tensor, all of them in the samples too, and the quantizers by the rule."""
    model, x = Block().requires_grad_(False), torch.randn(4, 3, 10, 10)
    task = make_task(trace(model, x), [x[:2], x[2:]], settings(rule, percentile), activation_bits=BITS, positions=2)
    quantizers = find_output_quantizers(task)
    assert all(list(operands) == ["output"] for operands in quantizers.values())
    values = {name: value.double().numpy() for name, value in model.rounded(x).items()}
    return values, {name: operands["output"] for name, operands in quantizers.items()}


def grid(low, high):
    """Scale and zero point of the grid that covers [low, high] and 0, in float64."""
    low, high = min(low, 0), max(high, 0)
    scale = (high - low) / LEVELS
    return scale, np.round(-low / scale)


def error(exact, scale, zero_point, axes=None):
    """The squared error with a grid, in float64."""
    integers = np.clip(np.round(exact / scale) + zero_point, 0, LEVELS)
    return np.square((integers - zero_point) * scale - exact).sum(axes)


def check_covers(quantizer, low, high):
    scale, zero_point = grid(low, high)
    assert (quantizer.bits, quantizer.describe()) == (BITS, "per-tensor asymmetric")
    assert float(quantizer.scale) == pytest.approx(scale, rel=1e-5)
    assert float(quantizer.zero_point) == zero_point


@pytest.mark.parametrize("percentile", [100, 99.9])
def test_minmax_covers_the_range_or_the_percentile(percentile):
    values, quantizers = quantized("minmax", percentile)
    assert quantizers.keys() == values.keys()
    for name, exact in values.items():
        check_covers(quantizers[name], *np.percentile(exact, [100 - percentile, percentile]))


def test_mse_takes_the_factor_of_least_squared_error():
    values, quantizers = quantized("mse")
    assert quantizers.keys() == values.keys()
    factors = []
    for name, exact in values.items():
        tried = []
        for step in range(90):
            factor = 1 - step / 100
            tried.append((error(exact, *grid(factor * exact.min(), factor * exact.max())), factor))
        least, best = min(tried)
        check_covers(quantizers[name], best * exact.min(), best * exact.max())
        assert least < 0.99 * tried[0][0]
        factors.append(best)
    assert len(set(factors)) > 1


def test_ptf_takes_the_power_of_two_of_least_error_per_channel():
    values, quantizers = quantized("ptf")
    assert quantizers.keys() == values.keys()
    softmax = quantizers["softmax"]
    assert (softmax.bits, softmax.steps_per_octave, float(softmax.delta)) == (4, 1, 1)
    exact, before_norm = values["add"], quantizers["add"]
    coarsest, zero_point = grid(exact.min(), exact.max())
    errors = np.stack([error(exact, coarsest * factor, zero_point, (0, 2, 3)) for factor in (1 / 8, 1 / 4, 1 / 2, 1)])
    expected = coarsest * 2.0 ** (errors.argmin(0) - 3)
    assert len(set(expected)) > 1
    assert (before_norm.bits, before_norm.axis) == (BITS, 1)
    np.testing.assert_allclose(before_norm.scale, expected, rtol=1e-5)
    np.testing.assert_array_equal(before_norm.zero_point, zero_point)
    for name in ("activation", "norm.norm"):
        check_covers(quantizers[name], values[name].min(), values[name].max())


@pytest.mark.parametrize("rule", ["minmax", "mse", "ptf"])
@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (-2.0, -1.0)])
def test_a_range_on_one_side_of_zero_is_widened(rule, low, high):
    class OneSided(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.last = nn.GroupNorm(1, 3), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.last(self.norm(F.hardtanh(x, low, high)).cos()).flatten(1)

    x = torch.linspace(low, high, 300).view(2, 3, 5, 10)
    quantizer = find_output_quantizers(make_task(trace(OneSided(), x), [x], settings(rule), positions=2))["activation"]["output"]
    assert float((quantizer.fake_quantize(x) - x).abs().max()) <= 1.01 / 255


def test_of_equal_errors_the_widest_range_wins():
    model, x = Block().requires_grad_(False), torch.randn(4, 3, 10, 10)
    task = make_task(trace(model, x), [x], settings("mse"), activation_bits=BITS, positions=2)
    silent = {}
    for name, found in task.output_statistics.items():
        tails = {side: getattr(found.range, side) for side in ("low_tail", "high_tail")}
        flat = replace(found.range, **{side: tail[:1].expand_as(tail) for side, tail in tails.items()})
        silent[name] = replace(found, sample=torch.zeros_like(found.sample), range=flat)
    quantizers = find_output_quantizers(replace(task, output_statistics=silent))
    for name, value in model.rounded(x).items():
        check_covers(quantizers[name]["output"], float(value.min()), float(value.max()))


class Rare(nn.Module):
    """An activation with values around 1, and a few of 40 times that in one channel of a map that is larger than any sample."""

    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.GroupNorm(1, 3), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.last(self.norm(F.relu(x)).cos()).flatten(1)

    @staticmethod
    def images():
        images = torch.rand(4, 3, 96, 96)
        images[:, 2, 0, :20] = 40
        return images


@pytest.mark.parametrize("bits", [4, 8])
def test_squared_error_of_rare_values_counts(bits):
    """Of 110,592 values 80 are large, which a sample of 512 positions holds one of, or none."""
    x = Rare.images()
    task = make_task(trace(Rare(), x), list(x.split(1)), settings("mse"), activation_bits=bits, positions=2)
    quantizer = find_output_quantizers(task)["activation"]["output"]
    tried = [task_error(x, 40 * (1 - step / 100), bits) for step in range(90)]
    assert float((quantizer.fake_quantize(x) - x).double().square().sum()) <= 1.02 * min(tried)


def task_error(x, high, bits):
    """The squared error of [0, high], in float64."""
    scale = high / (2**bits - 1)
    return float(((x.double() / scale).round().clamp(0, 2**bits - 1) * scale - x).square().sum())


def test_power_of_two_factor_of_a_channel_with_rare_large_values():
    """Its error is that of the rare values if its scale is an eighth, of which the sample may hold none."""
    x = Rare.images()
    task = make_task(trace(Rare(), x), list(x.split(1)), settings("ptf"), activation_bits=8, positions=2)
    scale = find_output_quantizers(task)["activation"]["output"].scale
    assert (scale * 255).tolist() == pytest.approx([5, 5, 40])
