"""Rules of the baselines' sources that the protocol overrides, one by one, on a network with one fused attention."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_task
from torch import nn

from qhyvit.analysis.site_errors import site_errors
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.presets import load_preset
from qhyvit.quantizers.floating_point import FloatingPoint
from qhyvit.quantizers.serialization import load_quantizers, save_quantizers
from qhyvit.quantizers.twin import SILU_MINIMUM, after_activation

OWN = {"easyquant-own": 32, "ptq4vit-own": 32, "repqvit-own": 8}  # bits of the inputs of convolutions
BITS = 4


class Hybrid(nn.Module):
    """Two convolutions, then an attention whose queries, keys and values differ in size, then a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.qkv, self.head = nn.Linear(6, 18), nn.Linear(6, 5)
        with torch.no_grad():
            self.qkv.weight *= torch.tensor([1.0, 0.3, 4.0]).repeat_interleave(6)[:, None]

    def forward(self, x):
        tokens = F.silu(self.conv(F.silu(self.stem(x)))).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).chunk(3, dim=2)
        return self.head(((q @ k.transpose(1, 2)).softmax(-1) @ v).mean(1))


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    images = torch.randn(6, 3, 15, 15)
    return make_task(trace(Hybrid(), images[:2]), images.split(3), None, BITS, BITS)


def quantizers_of(task, name, **changes):
    return find_quantizers(replace(task, method=load_preset(name).model_copy(update=changes)), "partial")


@pytest.mark.parametrize(("name", "bits"), OWN.items())
def test_only_inputs_of_convolutions_have_bits_of_their_own(task, name, bits):
    found = quantizers_of(task, name)
    for site, operands in found.items():
        for operand, quantizer in operands.items():
            own = site in ("stem", "conv") and operand == "input"
            assert quantizer.bits == (bits if own else BITS), (site, operand)


@pytest.mark.parametrize(("name", "bits"), OWN.items())
def test_site_table_names_what_stays_fp32(task, name, bits):
    table = site_errors(replace(task, method=load_preset(name)), quantizers_of(task, name)).set_index("site")
    assert (table.first_operand.loc[["stem", "conv"]] == "FP32").tolist() == 2 * [bits == 32]
    assert "FP32" not in {*table.second_operand, *table.first_operand.drop(["stem", "conv"])}


def test_fp32_operand_is_stated_in_the_file(task, tmp_path):
    found = quantizers_of(task, "easyquant-own")
    save_quantizers(tmp_path / "file", found, {})
    loaded, _ = load_quantizers(tmp_path / "file")
    assert loaded["stem"]["input"] == FloatingPoint()
    x = torch.randn(3)
    assert loaded["stem"]["input"].fake_quantize(x) is x


def test_weight_of_a_convolution_with_fp32_inputs_minimizes_the_error_with_these(task):
    """The scale against a loop over all candidates with the exact input, one cosine per pixel in float64."""
    model, preset = task.model, load_preset("easyquant-own")
    x = torch.cat(task.calibration.read_batches())
    weight, bias = (model.graph_module.get_parameter(f"stem.{name}").detach() for name in ("weight", "bias"))

    def pixels(kernel):
        return F.conv2d(x.double(), kernel.double(), bias.double(), stride=2).permute(0, 2, 3, 1).reshape(-1, 6).numpy()

    exact, losses = pixels(weight), {}
    for factor in np.linspace(preset.scale_min, preset.scale_max, preset.candidates):
        scale = float(np.float32(factor)) * float(weight.abs().max()) / 7
        rounded = pixels(torch.clamp(torch.round(weight / scale), -8, 7) * scale)
        losses[scale] = sum(1 - a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(exact, rounded, strict=True))
    assert float(quantizers_of(task, "easyquant-own")["stem"]["weight"].scale) == pytest.approx(min(losses, key=losses.get), rel=1e-5)


def part_losses(name, exact, rounded, gradient):
    """The loss of each part of a layer's outputs [tokens, 18], in float64."""
    for part in (slice(0, 6), slice(6, 12), slice(12, 18)):
        a, b = exact[:, part], rounded[:, part]
        if name == "ptq4vit-own":
            yield float((gradient[:, part] * (a - b)).square().sum())
        else:
            yield float((1 - F.cosine_similarity(a, b, dim=1)).sum())


@pytest.mark.parametrize("name", ["easyquant-own", "ptq4vit-own"])
def test_queries_keys_and_values_have_the_weight_scale_that_is_best_for_each(task, name):
    """The three scales against a loop over all candidates, given the first quantizer of the input, in float64."""
    found = quantizers_of(task, name, rounds=1)["qkv"]["weight"].scale
    assert found.view(3, 6).std(1).max() == 0
    preset, problem = load_preset(name), task.problem(next(site for site in task.model.sites if site.name == "qkv"))
    layer = task.model.graph_module.qkv
    tokens, gradient = problem.tensors["input"][0].double(), problem.gradient[0].double()
    step = tokens.abs().max() / 7
    rounded_tokens = torch.clamp(torch.round(tokens / step), -8, 7) * step
    if name == "ptq4vit-own":  # the twin grid of the full range, after SiLU
        rounded_tokens = after_activation(SILU_MINIMUM, (tokens.max() / 7).float(), BITS).fake_quantize(tokens.float()).double()
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    exact = tokens @ weight.T + bias
    full = weight.view(3, -1).abs().amax(1).repeat_interleave(6)[:, None] / 7
    losses, scales = [], []
    for factor in torch.linspace(preset.scale_min, preset.scale_max, preset.candidates).double():
        scale = factor * full
        rounded = torch.clamp(torch.round(weight / scale), -8, 7) * scale
        losses.append([*part_losses(name, exact, rounded_tokens @ rounded.T + bias, gradient)])
        scales.append(scale.view(3, 6)[:, 0])
    best = torch.stack([scales[place][part] for part, place in enumerate(np.argmin(losses, axis=0))])
    torch.testing.assert_close(found.view(3, 6)[:, 0].double(), best, rtol=1e-5, atol=0)


def test_one_scale_serves_the_fused_layer_by_the_protocol(task):
    assert quantizers_of(task, "ptq4vit")["qkv"]["weight"].scale.ndim == 0


def test_steps_and_rates_are_those_of_hyq():
    own, small = load_preset("hyq-own"), load_preset("hyq-own-xxs")
    assert (own.steps, own.learning_rate, small.steps, small.learning_rate) == (1000, 0.01, 1000, 0.1)
    protocol = load_preset("hyq").quantizer_settings
    for preset in (own, small):
        assert {key for key, value in preset.quantizer_settings.items() if value != protocol[key]} == {"steps", "learning_rate"}


@pytest.mark.parametrize(("name", "bits"), OWN.items())
def test_own_rule_differs_from_the_protocol_in_its_keys_alone(name, bits):
    keys = {"conv_input_bits", "split_qkv"} if bits == 32 else {"conv_input_bits"}
    own, protocol = (load_preset(one).quantizer_settings for one in (name, name.removesuffix("-own")))
    assert {key for key, value in own.items() if value != protocol[key]} == keys
    assert load_preset(name).published_as is None
