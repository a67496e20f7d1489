import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import REPOSITORY, make_task
from torch import nn

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.log2_attention import from_softmax

ENTRIES = read_yaml(REPOSITORY / "config/methods.yaml", METHODS)
FQVIT, PORTED = ENTRIES["fqvit"], ENTRIES["fqvit-released"]
ATTENTION_MAP = ("matmul2", "left")
SOFTMAX_TENSOR = ("softmax", "output")
BEFORE_NORM = {("add", "output"): 1, ("add2", "output"): 1}  # with the axis of the channels


class Hybrid(nn.Module):
    """A residual block, GroupNorm, attention with a softmax that no product reads, LayerNorm, attention with one that a product reads."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch, self.gate = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1)
        self.group_norm, self.layer_norm = nn.GroupNorm(2, 4), nn.LayerNorm(4)
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 5)
        with torch.no_grad():
            self.stem.weight *= torch.tensor([0.1, 0.5, 2.0, 6.0]).view(4, 1, 1, 1)
            self.qkv.weight *= 3

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.group_norm(x + self.branch(x))
        scores, keys = self.gate(x).split([1, 4], dim=1)
        x = (x + keys * scores.softmax(3)).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.layer_norm(x)).chunk(3, 2)
        return self.head((x + (q @ k.transpose(1, 2)).softmax(2) @ v).mean(1))


def shown(model, x, see):
    """Repeat the forward pass of a `Hybrid`; ``see`` gets every tensor that full mode quantizes, and returns what replaces it."""

    def layer(name, x):
        module = getattr(model, name)
        product = F.conv2d if isinstance(module, nn.Conv2d) else F.linear
        return product(see(name, "input", x), see(name, "weight", module.weight), module.bias)

    x = see("activation", "output", F.relu(layer("stem", x)))
    x = see("add", "output", x + layer("branch", x))
    x = see("group_norm.norm", "output", model.group_norm(x))
    scores, keys = layer("gate", x).split([1, 4], dim=1)
    x = see("add2", "output", x + keys * see("softmax", "output", scores.softmax(3)))
    x = x.flatten(2).transpose(1, 2)
    q, k, v = layer("qkv", model.layer_norm(x)).chunk(3, 2)
    scores = see("matmul1", "left", q) @ see("matmul1", "right", k.transpose(1, 2))
    x = see("add3", "output", x + see("matmul2", "left", scores.softmax(2)) @ see("matmul2", "right", v))
    return layer("head", x.mean(1))


def quantized(model, x, method, mode, weight_bits=8, activation_bits=6):
    """The quantizers and the network with them, which stands for ``model`` on the calibration images ``x``."""
    task = make_task(trace(model, x), [x[:2], x[2:]], method, weight_bits, activation_bits, positions=4)
    quantizers = find_quantizers(task, mode)
    insert_quantizers(task.model.graph_module, [*task.model.sites, *task.model.output_sites], quantizers)
    return {name.lstrip("."): operands for name, operands in quantizers.items()}, task.model.graph_module


@pytest.fixture
def hybrid():
    return Hybrid().requires_grad_(False), torch.randn(4, 3, 8, 8)


@pytest.mark.parametrize("mode", ["partial", "full"])
def test_network_computes_what_one_quantized_by_hand_does(hybrid, mode):
    model, x = hybrid
    quantizers, network = quantized(model, x, FQVIT, mode)
    asked = set()

    def see(name, operand, value):
        asked.add((name, operand))
        return quantizers[name][operand].fake_quantize(value) if name in quantizers else value

    expected = shown(model, x, see)
    torch.testing.assert_close(network(x), expected)
    assert float((expected - model(x)).abs().max()) > 1e-3
    assert {(name, operand) for name, operands in quantizers.items() for operand in operands} == {
        pair for pair in asked if mode == "full" or pair[1] != "output"
    }


@pytest.mark.parametrize("method", [FQVIT, PORTED])
def test_full_ranges_except_softmax_and_inputs_of_norms(hybrid, method):
    model, x = hybrid
    quantizers, _ = quantized(model, x, method, "full", weight_bits=4)
    seen = {}
    shown(model, x, lambda name, operand, value: seen.setdefault((name, operand), value))
    for (name, operand), value in seen.items():
        quantizer, exact = quantizers[name][operand], value.double().numpy()
        if (name, operand) in (ATTENTION_MAP, SOFTMAX_TENSOR):
            assert (quantizer.bits, quantizer.steps_per_octave, float(quantizer.delta)) == (4, 1, 1)
        elif operand == "weight":
            assert (quantizer.bits, quantizer.describe(), quantizer.axis) == (4, "per-channel symmetric", 0)
            np.testing.assert_allclose(quantizer.scale, np.abs(exact).reshape(len(exact), -1).max(1) / 7, rtol=1e-6)
        elif (name, operand) in BEFORE_NORM:
            assert (quantizer.bits, quantizer.describe(), quantizer.axis) == (6, "per-channel asymmetric", BEFORE_NORM[name, operand])
            coarsest = (exact.max() - exact.min()) / 63
            np.testing.assert_allclose(quantizer.scale, best_factors(exact, coarsest) * coarsest, rtol=1e-4)
            np.testing.assert_array_equal(quantizer.zero_point, np.round(-exact.min() / coarsest))
        else:
            assert (quantizer.bits, quantizer.describe()) == (6, "per-tensor asymmetric")
            low, high = min(exact.min(), 0), max(exact.max(), 0)
            np.testing.assert_allclose(quantizer.scale, (high - low) / 63, rtol=1e-4)
            np.testing.assert_allclose(quantizer.zero_point, -63 * low / (high - low), atol=0.51)


def best_factors(exact, coarsest):
    """The factor of each channel of a map [B, C, H, W] with the least squared error over all its values."""
    zero_point = np.round(-exact.min() / coarsest)
    factors = np.array([1 / 8, 1 / 4, 1 / 2, 1])
    errors = []
    for factor in factors:
        rounded = (np.clip(np.round(exact / (coarsest * factor)) + zero_point, 0, 63) - zero_point) * coarsest * factor
        errors.append(np.square(rounded - exact).sum((0, 2, 3)))
    best = factors[np.argmin(errors, axis=0)]
    assert len(set(best)) > 1
    return best


def test_attention_maps_by_hand(hybrid):
    quantizers, _ = quantized(*hybrid, FQVIT, "full")
    probabilities = torch.tensor([1.0, 0.72, 0.7, 0.3, 2**-15, 2**-15.4, 2**-15.6, 0.0])  # 0.707 is half-way from 1/2 to 1
    for name, operand in (ATTENTION_MAP, SOFTMAX_TENSOR):
        assert quantizers[name][operand].fake_quantize(probabilities).tolist() == [1, 1, 1 / 2, 1 / 4, 2**-15, 2**-15, 0, 0]


class ReadByNorm(nn.Module):
    """Values of [-5, 10] that a norm reads, with channels in axis 1 or last."""

    def __init__(self, norm, channels_last):
        super().__init__()
        self.norm, self.layer, self.channels_last = norm, nn.Linear(5, 3) if channels_last else nn.Conv2d(5, 3, 1), channels_last

    def forward(self, x):
        return self.layer(self.norm(F.hardtanh(x, -5.0, 10.0))).flatten(1)


@pytest.mark.parametrize(
    ("norm", "channels_last"),
    [(nn.LayerNorm(5), True), (nn.GroupNorm(1, 5), False), (nn.BatchNorm2d(5), False)],
    ids=["layer", "group", "batch"],
)
def test_power_of_two_factors_by_hand(norm, channels_last):
    # (10 + 5) / 15 = 1 is the layer's scale and 5 its zero point: 1 reaches from -5 to 10, 1/2 to 5, 1/4 to 2.5, 1/8 to 1.25
    tokens = torch.tensor([[-5.0, -2.5, -1.25, -0.625, 0.0], [10.0, 4.5, 2.25, 1.125, 0.0]])
    x = tokens.expand(4, 2, 5) if channels_last else tokens.t().reshape(1, 5, 1, 2).expand(4, -1, -1, -1)
    quantizers, _ = quantized(ReadByNorm(norm, channels_last).eval(), x, FQVIT, "full", activation_bits=4)
    found = quantizers["activation"]["output"]
    assert found.axis == (-1 if channels_last else 1)
    assert found.scale.tolist() == [1, 1 / 2, 1 / 4, 1 / 8, 1 / 8]  # the last channel is dead
    assert found.zero_point.tolist() == [5] * 5
    assert torch.equal(found.fake_quantize(x), x)


class Maps(nn.Module):
    """A softmax before a product on its right, one before a layer, one that is transposed and one that is doubled on the way."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def forward(self, x):
        y = x @ x.softmax(1)
        mixed = self.mix(y.softmax(2))
        return (y.softmax(1).transpose(1, 2) @ mixed + (2 * y.softmax(1)) @ mixed).flatten(1)


def test_operand_is_from_softmax_if_only_moved_since():
    x = torch.randn(2, 6, 6)
    sites = make_task(trace(Maps(), x), [x], FQVIT, positions=2).model.sites
    found = {(site.name.lstrip("."), operand) for site in sites for operand in site.operands if from_softmax(site, operand)}
    assert found == {("matmul1", "right"), ("mix", "input"), ("matmul2", "left")}


class Positive(nn.Module):
    """Values of [1, 2], which a layer, an addition and a norm read."""

    def __init__(self):
        super().__init__()
        self.layer, self.last, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3)

    def forward(self, x):
        x = F.hardtanh(x, 1.0, 2.0)
        return self.last(torch.cos(x) + self.norm(F.hardtanh(self.layer(x), 1.0, 2.0))).flatten(1)


@pytest.mark.parametrize(("method", "error"), [(FQVIT, 0.5 * 2 / 255), (PORTED, 1.0)], ids=["widened", "saturated"])
def test_saturated_zero_point_clips_above_width_of_range(method, error):
    x = torch.linspace(1, 2, 4 * 3 * 64).view(4, 3, 8, 8)
    model = Positive()
    nn.init.dirac_(model.layer.weight)
    nn.init.zeros_(model.layer.bias)
    quantizers, _ = quantized(model, x, method, "full", activation_bits=8)
    for name, operand in (("layer", "input"), ("activation", "output")):
        rounded = quantizers[name][operand].fake_quantize(x)
        assert float((rounded - x).abs().max()) == pytest.approx(error, rel=0.02)
        if method is PORTED:  # 255 steps of 1/255 from 0 on
            torch.testing.assert_close(rounded, torch.ones_like(x))
    before_norm = quantizers["activation2"]["output"].fake_quantize(x)
    assert (float(before_norm.max()) > 1.9) == (method is FQVIT)


def test_released_code_differs_in_its_zero_points_alone():
    assert FQVIT.modes == ["partial", "full"]
    assert FQVIT.model_copy(update={"zero_point": "saturated"}).quantizer_settings == PORTED.quantizer_settings
