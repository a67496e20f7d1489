"""Differences between the methods and their sources, as docs/methods.md lists them, which no other file of tests holds.

Where a source computes something else, the test computes that too, and its case is one in which both differ.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_task
from torch import nn

from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.hyq import ROWS, SMALLEST_ALPHA, ScaledConvolution
from qhyvit.methods.log2_attention import log2_attention
from qhyvit.methods.repqvit import absorbed_layers
from qhyvit.methods.scale_search import scale_multipliers
from qhyvit.presets import load_preset
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.alternating import alternate

BITS = 4


def task_of(model, x, preset, **options):
    graph_module = trace(model, x)
    fold_batch_norm(graph_module)
    return make_task(graph_module, [x], load_preset(preset), BITS, BITS, **options)


def quantizers_of(model, x, preset, **options):
    return find_quantizers(task_of(model, x, preset, **options), "partial")


# EasyQuant, PTQ4ViT and Q-HyViT: the search


class Normed(nn.Module):
    """A convolution before a BatchNorm that multiplies its channels by very different factors."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        nn.init.constant_(self.norm.running_var, 1 - self.norm.eps)
        self.norm.weight.data = torch.tensor([0.05, 0.1, 0.3, 1.0, 4.0, 9.0])
        self.norm.bias.data = torch.randn(6)

    def forward(self, x):
        return self.norm(self.conv(x)).flatten(1)


def best_scale(x, weight, bias, norm=None):
    """EasyQuant's scale of a 4-bit weight: one cosine per pixel, in float64, with ``norm`` factors applied to weight and bias or not."""
    factors = torch.ones(len(weight)) if norm is None else norm
    weight, bias = (weight * factors.view(-1, 1, 1, 1)).double(), bias.double()
    exact, losses = F.conv2d(x.double(), weight, bias), {}
    for factor in np.linspace(0.5, 1.2, 100):
        scale = factor * float(weight.abs().max()) / 7
        rounded = F.conv2d(x.double(), torch.clamp(torch.round(weight / scale), -8, 7) * scale, bias)
        losses[scale] = float((1 - F.cosine_similarity(exact, rounded, dim=1)).sum())
    return min(losses, key=losses.get)


def test_easyquant_compares_what_the_folded_norm_computes():
    model, x = Normed().eval().requires_grad_(False), torch.randn(4, 3, 9, 9)
    factors, conv = model.norm.weight, model.conv
    after = best_scale(x, conv.weight, factors * conv.bias + model.norm.bias, factors)
    before = best_scale(x, conv.weight, conv.bias) * float((conv.weight * factors.view(-1, 1, 1, 1)).abs().max() / conv.weight.abs().max())
    assert abs(before / after - 1) > 0.01
    assert float(quantizers_of(model, x, "easyquant-own")["conv"]["weight"].scale) == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize(("preset", "ends"), [("easyquant", (0.5, 1.2)), ("ptq4vit", (0.01, 1.2)), ("qhyvit", (0.01, 1.2))])
def test_candidates_reach_the_upper_end_that_the_codes_leave_out(preset, ends):
    """The codes make 101 multipliers and try the first 100."""
    low, high = ends
    found, tried = scale_multipliers(load_preset(preset)).sort().values, [low + i / 100 * (high - low) for i in range(100)]
    np.testing.assert_allclose(found, np.linspace(low, high, 100), rtol=1e-5)
    assert (float(found[-1]), float(found[0])) == (pytest.approx(high), pytest.approx(tried[0]))
    assert max(tried) < 0.995 * float(found[-1])
    assert load_preset("qhyvit-released").scale_max == pytest.approx(0.01 + 0.99 * 1.19)


class Scripted:
    """Candidates whose best has the next of the given losses, and another scale each time."""

    def __init__(self, losses):
        self.losses, self.tried = losses, 0

    def start(self):
        return UniformQuantizer(8, "symmetric", torch.tensor(1.0 + self.tried), torch.tensor(0.0))

    def shortlist(self):
        return self

    def finalists(self, other):
        return self.losses[self.tried], self

    def best(self, other):
        self.tried += 1
        return self.losses[self.tried - 1], self.start()


@pytest.mark.parametrize(("losses", "rounds"), [([100, 98.9, 98.0, 1], 3), ([100, 99.1, 1], 2), ([100, 50, 25, 12], 4)])
def test_search_ends_after_a_round_that_gains_less_than_a_hundredth(losses, rounds):
    """The codes have three rounds always; here a method may have four."""
    candidates = {operand: [Scripted(losses)] for operand in ("weight", "input")}
    alternate(candidates, 4)
    assert [family.tried for (family,) in candidates.values()] == [rounds, rounds]


class SoftmaxProduct(nn.Module):
    """A sharp softmax times values of which few have nearly all the range."""

    def __init__(self):
        super().__init__()
        self.scores, self.values = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 1)

    def forward(self, x):
        values = self.values(x)
        return ((4 * self.scores(x)).softmax(3) @ (values + 3 * values**3)).flatten(1)


def test_ptq4vit_splits_softmax_by_the_error_with_quantized_values():
    torch.manual_seed(1)  # one of those where the exact values would choose another split
    task = task_of(SoftmaxProduct(), torch.randn(2, 3, 6, 6), "ptq4vit")
    site = task.model.sites[-1]
    problem = task.problem(site)
    left, right = (problem.tensors[operand].double() for operand in ("left", "right"))
    scale = right.abs().max() / 7
    values = {"quantized": torch.clamp(torch.round(right / scale), -8, 7) * scale, "exact": right}

    def loss(split, other):
        low, high = torch.round(left * 7 / split) * split / 7, torch.round(left * 7) / 7
        rounded = torch.where(left < split, low, high)
        return float(((rounded @ other - left @ right) * problem.gradient).square().sum())

    best = {name: min(range(20), key=lambda octave: loss(2.0**-octave, other)) for name, other in values.items()}
    assert best["quantized"] != best["exact"]
    method = task.method.model_copy(update={"rounds": 1, "candidates": 2, "scale_min": 0.999, "scale_max": 1.0})
    found = find_quantizers(type(task)(**vars(task) | {"method": method}), "partial")[site.name]["left"]
    assert found.boundary == 2.0 ** -best["quantized"]


# FQ-ViT


def test_log2_rounds_the_logarithm_where_fqvit_rounds_the_reciprocal():
    """FQ-ViT's log_round: up to the next power of two from the middle between both on."""
    x = torch.linspace(2**-6, 1, 5000).double()
    octave = torch.floor(torch.log2(1 / x))
    released = octave + (1 / x - 2**octave >= 2 ** (octave - 1))
    ours = log2_attention().quantize(x.float()).double()
    assert torch.equal(ours, torch.round(-torch.log2(x)))
    mantissa = (1 / x) / 2**octave
    between = (mantissa > 2**0.5) & (mantissa < 1.5)
    assert torch.equal(ours - released, between.double())
    assert between.any()


# RepQ-ViT


class Chain(nn.Module):
    """Two convolutions with an activation between them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.second(F.silu(self.first(x))).flatten(1)


def test_repqvit_calibrates_the_second_layer_on_fp32_values():
    model, x = Chain().requires_grad_(False), torch.randn(4, 3, 16, 16)
    model.first.weight *= 3
    found = quantizers_of(model, x, "repqvit")
    first, second = model.first, nn.Sequential(model.second, nn.Flatten())
    exact = F.silu(first(x))
    weight = found["first"]["weight"].fake_quantize(first.weight)
    rounded = F.silu(F.conv2d(found["first"]["input"].fake_quantize(x), weight, first.bias))
    alone, sequential = (quantizers_of(second, values, "repqvit")["0"]["input"] for values in (exact, rounded))
    assert torch.equal(found["second"]["input"].scale, alone.scale)
    assert torch.equal(found["second"]["input"].zero_point, alone.zero_point)
    assert not (torch.equal(alone.scale, sequential.scale) and torch.equal(alone.zero_point, sequential.zero_point))


class Positive(nn.Module):
    """A norm, and a layer with positive weights, whose results are positive, before another layer."""

    def __init__(self):
        super().__init__()
        self.norm, self.mix, self.last = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.norm.bias.data += 9
        self.mix.weight.data.uniform_(0.5, 1)

    def forward(self, x):
        return self.last(self.mix(self.norm(x))).flatten(1)


def test_ranges_of_repqvit_contain_zero():
    """Grids of 4 bits from 0 to the largest value, where the code has them from the smallest one."""
    x = torch.randn(5, 40, 4)
    model = Positive().requires_grad_(False)
    found = quantizers_of(model, x, "repqvit")
    seen = {"mix": model.norm(x), "last": model.mix(model.norm(x))}
    assert all(float(values.min()) > 2 for values in seen.values())
    weight = found["mix"]["weight"]
    for quantizer, largest in (
        (found["mix"]["input"], seen["mix"].flatten(0, 1).amax(0)),
        (found["last"]["input"], seen["last"].amax()),
        (weight, (model.mix.weight * weight.channel_rescale).amax(1)),
    ):
        assert not quantizer.zero_point.any()
        torch.testing.assert_close(quantizer.scale, largest / 15, rtol=0.01, atol=0)


def test_repqvit_samples_percentiles_of_channels_alone():
    x = torch.randn(5, 400, 4)
    model = Positive()
    few, all_rows = (quantizers_of(model, x, "repqvit", positions=positions) for positions in (8, None))
    assert torch.equal(few["last"]["input"].scale, all_rows["last"]["input"].scale)
    assert not torch.equal(few["mix"]["input"].scale, all_rows["mix"]["input"].scale)


class BehindNorm(nn.Module):
    """A norm that one layer alone reads; the channels are in axis 1."""

    def __init__(self, norm, layer):
        super().__init__()
        self.norm, self.layer = norm, layer

    def forward(self, x):
        return self.layer(self.norm(x)).flatten(1)


@pytest.mark.parametrize(
    ("norm", "layer", "shape"),
    [
        (nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 1), (6, 4, 5, 5)),
        (nn.GroupNorm(2, 4), nn.Linear(4, 3), (6, 4)),
        (nn.BatchNorm1d(4), nn.Linear(4, 3), (6, 4)),
    ],
    ids=["group-conv", "group-linear", "batch-linear"],
)
def test_repqvit_changes_no_norm_but_layer_norm(norm, layer, shape):
    task = task_of(BehindNorm(norm, layer).eval(), torch.randn(shape), "repqvit")
    assert absorbed_layers(task.model.sites) == []
    assert find_quantizers(task, "partial")["layer"]["input"].axis is None
    assert absorbed_layers(task_of(BehindNorm(nn.LayerNorm(4), nn.Linear(4, 3)), torch.randn(6, 4), "repqvit").model.sites)


# HyQ


class Inverted(nn.Module):
    """A block of MobileNetV2 without norms, whose input channels range over two orders of magnitude."""

    def __init__(self):
        super().__init__()
        self.register_buffer("spread", torch.logspace(-2, 0, 6).view(6, 1, 1))
        self.expand, self.depthwise, self.project = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.project(self.depthwise(self.expand(x * self.spread))).flatten(1)


def scaled_convolution():
    task = task_of(Inverted(), torch.randn(8, 6, 16, 16), "hyq")
    return task.problem(task.model.sites[0]), ScaledConvolution(task, task.model.sites[0])


def test_hyq_learns_from_some_rows_that_have_the_error_of_all():
    whole, convolution = scaled_convolution()
    assert whole.tensors["input"].shape[1] == 8 * 16 * 16
    assert convolution.problem.tensors["input"].shape[1] == ROWS
    alpha = torch.tensor([0.05, 0.1, 0.3, 0.5, 0.8, 1.0])
    estimate = float(convolution.error(alpha))
    convolution.problem = whole
    assert estimate == pytest.approx(float(convolution.error(alpha)), rel=0.2)


def test_learnt_scales_of_hyq_stay_positive():
    """The first steps are as large as the learning rate, which leads below 0 from 1."""
    _, convolution = scaled_convolution()
    seen, error = [], convolution.error
    convolution.error = lambda alpha: seen.append(alpha.detach().clone()) or error(alpha)
    convolution.learn(steps=6, learning_rate=5.0)
    assert float(torch.stack(seen).min()) == pytest.approx(SMALLEST_ALPHA)
