from copy import deepcopy

import pytest
import torch
from conftest import make_task
from torch import nn

from qhyvit.config.methods import RepqvitMethod
from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.repqvit import _ends, absorbed_layers, percentile_grid
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

PERCENTILES = [99.9, 99.99, 99.999]
PLAIN = {"granularity": ["per_tensor"], "scheme": ["asymmetric"]}
METHOD = RepqvitMethod(
    algorithm="repqvit",
    weights={"granularity": ["per_channel"], "scheme": ["asymmetric"]},
    activations=PLAIN,
    matmuls=PLAIN,
    percentiles=PERCENTILES,
)


class NormedLinear(nn.Module):
    """A LayerNorm whose channels have unlike ranges, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(6), nn.Linear(6, 4)
        self.norm.weight.data = torch.tensor([0.1, 0.5, 1.0, 2.0, 5.0, 0.0])
        self.norm.bias.data = torch.tensor([0.3, -0.2, 0.0, 4.0, 0.1, 0.0])  # the last channel is dead

    def forward(self, x):
        return self.linear(self.norm(x)).flatten(1)


def quantized(model, x, **options):
    graph_module = trace(model, x)
    return graph_module, find_quantizers(make_task(graph_module, [x], METHOD, **options), "partial")


def reparameterized(model, inputs):
    """The paper's norm and layer in float64, its one scale and zero point, and the change of the bias as a function of the weight."""
    scale, zero_point = inputs.scale.double(), inputs.zero_point.double()
    mean_scale, mean_zero_point = scale.mean(), zero_point.mean().round()
    r1, r2 = scale / mean_scale, zero_point - mean_zero_point
    norm, linear = model.norm, model.linear
    gamma, beta = norm.weight / r1, (norm.bias + scale * r2) / r1
    return gamma, beta, linear.weight * r1, lambda weight: linear.bias - weight @ (scale * r2), mean_scale, mean_zero_point, r1


@pytest.mark.parametrize("bits", [8, 4])
def test_norm_and_layer_can_take_over_the_scales(bits):
    model, x = NormedLinear(), torch.randn(4, 9, 6)
    graph_module, quantizers = quantized(model, x, weight_bits=bits, activation_bits=bits)
    simulated = quantizers["linear"]
    assert isinstance(simulated["weight"], RescaledWeightQuantizer)
    model = deepcopy(model).double()
    with torch.no_grad():
        gamma, beta, weight, bias, scale, zero_point, r1 = reparameterized(model, simulated["input"])
        normed = nn.functional.layer_norm(x.double(), (6,), gamma, beta)
        torch.testing.assert_close((normed @ weight.T + bias(model.linear.weight)).flatten(1), model(x.double()), rtol=0, atol=1e-4)

        levels = (torch.round(normed / scale) + zero_point).clamp(0, 2**bits - 1)
        weight_scale, weight_zero_point = (
            tensor.double()[:, None] for tensor in (simulated["weight"].scale, simulated["weight"].zero_point)
        )
        weight_levels = (torch.round(weight / weight_scale) + weight_zero_point).clamp(0, 2**bits - 1)
        rounded = (weight_levels - weight_zero_point) * weight_scale
        integer = (levels - zero_point) * scale @ rounded.T + bias(rounded / r1)
    insert_quantizers(graph_module, find_sites(graph_module), quantizers)
    torch.testing.assert_close(graph_module(x).double(), integer.flatten(1), rtol=0, atol=1e-4)


def test_scales_differ_by_channel_and_stay_finite_for_a_dead_one():
    _, quantizers = quantized(NormedLinear(), torch.randn(64, 9, 6))
    inputs, weight = quantizers["linear"]["input"], quantizers["linear"]["weight"]
    assert float(inputs.scale[4] / inputs.scale[0]) > 10
    assert bool(inputs.fake_quantize(torch.randn(3, 6)).isfinite().all())
    assert bool(weight.fake_quantize(torch.randn(4, 6)).isfinite().all())
    torch.testing.assert_close(weight.channel_rescale, inputs.scale / inputs.scale.mean())


class Attention(nn.Module):
    """One norm for queries, keys and values, one for a residual connection too, one without parameters and one without a layer."""

    def __init__(self):
        super().__init__()
        self.shared, self.residual, self.last = nn.LayerNorm(4), nn.LayerNorm(4), nn.LayerNorm(4)
        self.plain = nn.LayerNorm(4, elementwise_affine=False)
        self.q, self.k, self.v, self.mlp, self.out, self.folded = (nn.Linear(4, 4) for _ in range(6))
        self.tokens = nn.Linear(8, 2)

    def forward(self, x):
        y = self.shared(x)
        q, k, v = self.q(y), self.k(y.flatten(0, 1)).view(y.shape), self.v(y)
        x = (q @ k.transpose(1, 2)).softmax(2) @ v
        y = self.residual(x)
        x = y + self.mlp(y)
        x = self.out(self.plain(x))
        return self.tokens(self.last(x).flatten(1).unflatten(1, (-1, 8))).flatten(1)


def test_norm_serves_all_linear_layers_that_alone_read_it():
    model, x = Attention(), torch.randn(5, 6, 4)
    graph_module, quantizers = quantized(model, x)
    assert [[site.name for site in layers] for layers in absorbed_layers(find_sites(graph_module))] == [["q", "k", "v"]]
    assert quantizers["q"]["input"] is quantizers["k"]["input"] is quantizers["v"]["input"]
    for name in ("mlp", "out", "tokens"):
        assert quantizers[name]["input"].axis is None
        assert isinstance(quantizers[name]["weight"], UniformQuantizer)


def test_attention_is_log_sqrt2_and_its_other_operand_uniform():
    _, quantizers = quantized(Attention(), torch.randn(5, 6, 4), activation_bits=4)
    scores, product = (operands for name, operands in quantizers.items() if "matmul" in name)
    assert {type(quantizer) for quantizer in scores.values()} == {UniformQuantizer}
    left, right = product["left"], product["right"]
    assert isinstance(left, LogQuantizer)
    assert (left.bits, left.steps_per_octave) == (4, 2)
    assert isinstance(right, UniformQuantizer)


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.conv(x).flatten(1)


@pytest.mark.parametrize(("bits", "best"), [(8, 99.999), (3, 99.9)])
def test_the_percentile_has_the_least_squared_error(bits, best):
    x = torch.distributions.Laplace(0.0, 1.0).sample((20, 3, 40, 40))
    _, quantizers = quantized(Convolution(), x, activation_bits=bits)
    values, errors, scales = x.double().flatten(), {}, {}
    for percent in PERCENTILES:
        low, high = (values.kthvalue(1 + round(at * (len(values) - 1))).values for at in (1 - percent / 100, percent / 100))
        scale = (high - low) / (2**bits - 1)
        zero_point = torch.round(-low / scale)
        errors[percent] = float(
            (((torch.round(values / scale) + zero_point).clamp(0, 2**bits - 1) - zero_point) * scale - values).square().sum()
        )
        scales[percent] = float(scale)
    assert min(errors, key=errors.get) == best
    assert float(quantizers["conv"]["input"].scale) == pytest.approx(scales[best], rel=1e-2)


def test_percentiles_of_columns_are_quantiles():
    values = torch.randn(2000, 5)
    scale, _ = percentile_grid(values, torch.ones(2000), [99.9], 8, "asymmetric")
    low, high = torch.quantile(values, torch.tensor([0.001, 0.999]), dim=0)
    torch.testing.assert_close(scale, (high - low) / 255)


def test_a_row_may_stand_for_several():
    values = torch.randn(20000, 1)
    counts = torch.where(values[:, 0].abs() > 2.5, 9, 1)
    repeated = values.repeat_interleave(counts, 0)
    weighted, _ = percentile_grid(values, counts.float(), [99.9], 8, "asymmetric")
    plain, _ = percentile_grid(repeated, torch.ones(len(repeated)), [99.9], 8, "asymmetric")
    alone, _ = percentile_grid(values, torch.ones(len(values)), [99.9], 8, "asymmetric")
    torch.testing.assert_close(weighted, plain, rtol=0.01, atol=0)
    assert float(plain) > 1.1 * float(alone)


def test_percentiles_weight_both_ends_alike():
    values, counts = torch.randn(40, 3), torch.randint(1, 50, (40,)).float()
    low, high = _ends(values, counts, 0.99)
    mirrored_low, mirrored_high = _ends(-values, counts, 0.99)
    torch.testing.assert_close((-mirrored_high, -mirrored_low), (low, high))


@pytest.mark.parametrize("bits", [3, 8])
def test_each_column_takes_its_own_percentile(bits):
    values = torch.cat([torch.rand(5000, 1), torch.distributions.Laplace(0.0, 1.0).sample((5000, 1))], dim=1)
    values[0] = torch.tensor([1.5, 40.0])
    grids = [percentile_grid(values, torch.ones(5000), [percent], bits, "asymmetric") for percent in (99.9, 100.0)]
    best, _ = percentile_grid(values, torch.ones(5000), [99.9, 100.0], bits, "asymmetric")
    for column in range(2):
        errors = []
        for scale, zero_point in grids:
            s, z, x = float(scale[column]), float(zero_point[column]), values[:, column].double()
            errors.append(float((((torch.round(x / s) + z).clamp(0, 2**bits - 1) - z) * s - x).square().sum()))
        assert float(best[column]) == float(grids[errors.index(min(errors))][0][column])
