import pytest
import torch
import torch.nn.functional as F
from conftest import make_task
from torch import nn

from qhyvit.config.methods import HyqMethod
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.hyq import ScaledConvolution, find_scaled_convolutions
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

PLAIN = {"granularity": ["per_tensor"], "scheme": ["asymmetric"]}
METHOD = HyqMethod(
    algorithm="hyq",
    weights={"granularity": ["per_channel"], "scheme": ["symmetric"]},
    activations=PLAIN,
    grouped_activations={"granularity": ["per_channel"], "scheme": ["asymmetric"]},
    matmuls=PLAIN,
    output_scale="ptf",
    steps=60,
    learning_rate=0.1,
)


class InvertedResidual(nn.Module):
    """A block of MobileNetV2."""

    def __init__(self, channels, expanded, activation):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, expanded, 1), nn.BatchNorm2d(expanded), activation())
        self.depthwise = nn.Sequential(nn.Conv2d(expanded, expanded, 3, padding=1, groups=expanded), nn.BatchNorm2d(expanded), activation())
        self.project = nn.Sequential(nn.Conv2d(expanded, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x):
        return x + self.project(self.depthwise(self.expand(x)))


class Network(nn.Module):
    """Two such blocks among convolutions that only look like their parts."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(InvertedResidual(4, 8, nn.SiLU), InvertedResidual(4, 6, nn.ReLU6))
        self.bottleneck = nn.Sequential(nn.Conv2d(4, 8, 1), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 4, 1))
        self.grouped = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.Conv2d(8, 4, 1))
        self.pooled = nn.Sequential(nn.Conv2d(4, 8, 1), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
        self.reduced = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.SiLU(), nn.Conv2d(3, 4, 1))
        self.unprojected = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 3))

    def forward(self, x):
        x = self.grouped(self.bottleneck(self.blocks(self.stem(x))))
        return self.unprojected(self.reduced(self.pooled(x))).flatten(1)


def test_only_pointwise_convolutions_around_depthwise_are_scaled():
    graph_module = trace(Network(), torch.randn(2, 3, 16, 16))
    fold_batch_norm(graph_module)
    found = find_scaled_convolutions(graph_module, find_sites(graph_module))
    assert [site.name for site in found] == ["blocks.0.expand.0", "blocks.0.project.0", "blocks.1.expand.0", "blocks.1.project.0"]


class Uneven(nn.Module):
    """A block of MobileNetV2 whose input channels range over two orders of magnitude, small ones with large weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("spread", torch.logspace(-2, 0, 6).view(6, 1, 1))
        self.expand = nn.Conv2d(6, 8, 1, bias=False)
        self.depthwise, self.project = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
        self.expand.weight.data /= self.spread

    def forward(self, x):
        return self.project(F.silu(self.depthwise(F.silu(self.expand(x * self.spread))))).flatten(1)


def uneven_task(positions=None, size=1.0, **bits):
    model, x = Uneven(), size * torch.randn(6, 6, 12, 12)
    return model, x * model.spread, make_task(trace(model, x), [x], METHOD, positions=positions, **bits)


def output_error(x, weight, quantizers):
    """The mean squared error at the output of a pointwise convolution over all pixels, one output channel after the other."""
    exact, kernel = x.double(), weight.double()
    rounded, rounded_kernel = quantizers[0].fake_quantize(x).double(), quantizers[1].fake_quantize(weight).double()
    errors = []
    for channel in range(len(weight)):
        want, got = (sum(a[:, k] * b[channel, k, 0, 0] for k in range(a.shape[1])) for a, b in ((exact, kernel), (rounded, rounded_kernel)))
        errors.append(float((got - want).square().mean()))
    return sum(errors) / len(errors)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("positions", [None, 40])
def test_learnt_scales_lower_error_if_channel_ranges_differ(bits, positions):
    model, x, task = uneven_task(positions, weight_bits=bits, activation_bits=bits)
    weight = model.expand.weight.detach()
    learnt = find_quantizers(task, "partial")["expand"]
    plain = ScaledConvolution(task, task.model.sites[0]).quantizers(torch.ones(6))
    before, after = (output_error(x, weight, pair) for pair in (plain, (learnt["input"], learnt["weight"])))
    assert after < 0.7 * before


def test_scaled_convolution_estimates_the_error_of_its_output():
    model, x, task = uneven_task(weight_bits=5, activation_bits=5)
    convolution = ScaledConvolution(task, task.model.sites[0])
    alpha = torch.tensor([0.2, 0.5, 0.7, 1.0, 1.5, 2.0])
    want = output_error(x, model.expand.weight.detach(), convolution.quantizers(alpha))
    assert float(convolution.error(alpha)) == pytest.approx(want, rel=1e-4)


def test_alpha_of_one_is_minmax():
    model, x, task = uneven_task()
    inputs, weights = ScaledConvolution(task, task.model.sites[0]).quantizers(torch.ones(6))
    scale = float(x.max() - x.min()) / 255
    assert inputs.scale.tolist() == pytest.approx([scale] * 6, rel=1e-6)
    assert inputs.zero_point.tolist() == [round(float(-x.min()) / scale)] * 6
    kernel = model.expand.weight.detach()
    plain = UniformQuantizer(8, "symmetric", kernel.abs().amax((1, 2, 3)) / 127, torch.zeros(8), axis=0)
    assert torch.equal(weights.fake_quantize(kernel), plain.fake_quantize(kernel))


def test_the_gradient_is_that_of_the_scales_alone():
    """One channel has the range of the input and another that of each weight: no other has a gradient."""
    _, _, task = uneven_task(weight_bits=4, activation_bits=4)
    convolution = ScaledConvolution(task, task.model.sites[0])
    convolution.weight = torch.full((8, 6), 0.1)
    convolution.weight[:, 1] = 1.0
    convolution.low, convolution.high = torch.full((6,), -0.1), torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, 2.0])
    convolution.low[5] = -2.0
    alpha = torch.ones(6, requires_grad=True)
    convolution.error(alpha).backward()
    assert (alpha.grad != 0).tolist() == [False, True, False, False, False, True]


def test_input_of_depthwise_convolution_has_a_grid_per_channel_down_to_the_minimum_of_silu():
    model, x, task = uneven_task(size=0.3)
    quantizers = find_quantizers(task, "partial")
    observed = F.silu(model.expand(x)).detach()
    scale = (observed.amax((0, 2, 3)) + 0.27846454) / 255
    assert float(observed.min()) > -0.25
    torch.testing.assert_close(quantizers["depthwise"]["input"].scale, scale, rtol=1e-6, atol=0)
    observed = F.silu(model.depthwise(observed)).detach()
    inputs, factor = quantizers["project"]["input"], quantizers["project"]["weight"].channel_rescale
    low = -inputs.zero_point * inputs.scale / factor
    want = (observed.amin((0, 2, 3)) / factor).min()
    assert float(low.min()) == pytest.approx(float(want), abs=0.6 * float((inputs.scale / factor).max()))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.v = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x):
        x = x + (x @ x.transpose(1, 2)).softmax(2) @ self.v(x)
        return self.v(self.norm(x)).flatten(1)


def test_hyq_quantizes_attention_to_log2_and_the_rest_to_minmax():
    x = torch.randn(5, 6, 4)
    quantizers = find_quantizers(make_task(trace(Attention(), x), [x], METHOD, activation_bits=8), "full")
    found = [operands["left"] for operands in quantizers.values() if isinstance(operands.get("left"), LogQuantizer)]
    assert [(left.bits, left.steps_per_octave, float(left.delta)) for left in found] == [(4, 1, 1.0)]
    assert float(quantizers["v"]["input"].scale) == pytest.approx(float(x.max() - x.min()) / 255, rel=1e-6)
    assert not any(isinstance(quantizer, RescaledWeightQuantizer) for operands in quantizers.values() for quantizer in operands.values())
    assert "add" in quantizers
