"""Every method of methods.yaml, in every mode that it defines, on a small hybrid network."""

import re
from functools import cache
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import REPOSITORY
from torch import nn

import qhyvit
from qhyvit.config.targets import load_target
from qhyvit.deploy.executable import obstacle
from qhyvit.presets import METHODS_FILE
from qhyvit.quantizers.uniform import UniformQuantizer

PRESETS = yaml.safe_load(METHODS_FILE.read_text())
RUNS = [(name, mode) for name, preset in PRESETS.items() for mode in ("partial", "full") if mode == "partial" or preset.get("output_scale")]
LOG2_ATTENTION_BITS = 4  # of FQ-ViT and HyQ, whatever the bits of other activations
OTHER_KINDS = {  # quantizers that are not uniform, by algorithm and operand
    "fqvit": {"left": "LogQuantizer"},
    "qhyvit_integer": {"weight": "RescaledWeightQuantizer"},
    "hyq": {"left": "LogQuantizer", "weight": "RescaledWeightQuantizer"},
    "ptq4vit": {"left": "TwinUniformQuantizer", "input": "TwinUniformQuantizer"},
    "repqvit": {"left": "LogQuantizer", "weight": "RescaledWeightQuantizer"},
}


class Hybrid(nn.Module):
    """An inverted bottleneck with a depthwise convolution, an attention of two heads between norms, and a map again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4))
        self.expand, self.depthwise, self.reduce = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 6, 1)
        self.norm, self.queries, self.values = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.merge, self.head = nn.Linear(6, 6), nn.Conv2d(6, 5, 1)

    def forward(self, x):
        x = self.reduce(F.silu(self.depthwise(F.silu(self.expand(F.silu(self.stem(x)))))))
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        queries, values = (layer(normed).unflatten(2, (2, 3)).transpose(1, 2) for layer in (self.queries, self.values))
        attended = (queries @ queries.transpose(-2, -1)).softmax(-1) @ values
        tokens = tokens + F.gelu(self.merge(attended.transpose(1, 2).flatten(2)))
        return self.head(tokens.transpose(1, 2).unflatten(2, (4, 4))).mean((2, 3))


SITES = ["stem.0", "expand", "depthwise", "reduce", "queries", "values", "matmul1", "matmul2", "merge", "head"]
OUTPUTS = {"softmax", "add", "norm"}


@pytest.fixture(scope="module")
def calibrated():
    torch.manual_seed(0)
    model, images = Hybrid().eval(), torch.randn(6, 3, 8, 8)
    return model, images, qhyvit.calibrate(model, images)


@pytest.fixture(scope="module")
def quantized_by(calibrated):
    """The network as a method and mode quantize it."""
    model, _, calibration = calibrated
    return cache(lambda name, mode: qhyvit.quantize(model, calibration, name, "w4a8", mode))


def allowed(preset, site, operand):
    """The granularities and schemes that the file gives an operand."""
    if operand == "weight":
        choices = (site in ("queries", "values", "merge") and preset.get("linear_weights")) or preset["weights"]
    elif operand in ("left", "right"):
        choices = preset["matmuls"]
    else:
        choices = (site == "depthwise" and preset.get("grouped_activations")) or preset["activations"]
    return choices["granularity"], choices["scheme"]


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_preset_gives_every_operand_an_allowed_quantizer(calibrated, quantized_by, name, mode):
    model, images, _ = calibrated
    preset, quantized = PRESETS[name], quantized_by(name, mode)
    assert [site for site in quantized.quantizers if site in SITES] == SITES
    for site in SITES:
        operands = ("left", "right") if "matmul" in site else ("input", "weight")
        assert tuple(quantized.quantizers[site]) == operands
        for operand in operands:
            check(name, site, operand, quantized.quantizers[site][operand])
    outputs = {site: found["output"] for site, found in quantized.quantizers.items() if site not in SITES}
    assert bool(outputs) == (mode == "full")
    assert {quantizer.bits for quantizer in outputs.values()} <= ({4, 8} if preset.get("output_scale") == "ptf" else {8})
    with torch.no_grad():
        exact, found = model(images), quantized(images)
    assert found.isfinite().all()
    assert 0 < float((found - exact).norm() / exact.norm()) < 0.5


def check(name, site, operand, quantizer):
    """Hold a quantizer to the settings of its method: kind and bits, and of a uniform one also scheme and granularity."""
    preset, kind = PRESETS[name], type(quantizer).__name__
    own = preset.get("conv_input_bits") if operand == "input" and site in ("stem.0", "expand", "depthwise", "reduce", "head") else None
    if own == 32:
        assert kind == "FloatingPoint"
        return
    bits = 4 if operand == "weight" else 7 if (name, operand) == ("qhyvit-integer-avx2", "right") else own or 8
    if not isinstance(quantizer, UniformQuantizer):
        assert kind.removeprefix("Added") == OTHER_KINDS[preset["algorithm"]][operand]
        log2 = kind == "LogQuantizer" and preset["algorithm"] != "repqvit"
        assert quantizer.bits == (LOG2_ATTENTION_BITS if log2 else bits)
        return
    assert quantizer.bits == bits
    assert ((quantizer.scale > 0) & quantizer.scale.isfinite()).all()
    granularities, schemes = allowed(preset, site, operand)
    assert quantizer.scheme in schemes
    granularity = "per_tensor" if quantizer.axis is None else "per_channel"
    assert granularity in granularities or preset["algorithm"] in (
        "repqvit",
        "hyq",
        "qhyvit_integer",
    )  # which rescale the channels of some inputs


@pytest.mark.parametrize("name", PRESETS)
def test_algorithm_of_preset_is_a_module_that_finds_quantizers(name):
    assert callable(import_module(f"qhyvit.methods.{PRESETS[name]['algorithm']}").find_quantizers)


def test_mode_that_a_preset_does_not_define_is_refused(calibrated):
    with pytest.raises(qhyvit.InputError, match="full"):
        qhyvit.quantize(calibrated[0], calibrated[2], "easyquant", "w8a8", "full")


def test_docs_call_executable_what_the_check_does(calibrated, quantized_by):
    page, target = (REPOSITORY / "docs/methods.md").read_text(), load_target("openvino-cpu")
    rows = {answer: re.findall(rf"^\| (`.*`) \| .* \| {answer} \|$", page, flags=re.MULTILINE) for answer in ("yes", "no")}
    stated = {answer: {name for row in found for name in re.findall("`([^`]*)`", row)} for answer, found in rows.items()}
    hindered = {
        name
        for name in PRESETS
        if any(obstacle(site, quantized_by(name, "partial").quantizers[site.name], target) for site in calibrated[2].model.sites)
    }
    assert stated == {"yes": PRESETS.keys() - hindered, "no": hindered}
