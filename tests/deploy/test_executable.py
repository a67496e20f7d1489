"""Quantizers against targets, on a small hybrid network with a dense, a depthwise and a grouped convolution, linear layers and products."""

from dataclasses import replace

import pytest
import torch
import yaml
from torch import nn

import qhyvit
from qhyvit.config.targets import load_target
from qhyvit.deploy.executable import obstacle, require_executable
from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE, load_preset
from qhyvit.quantizers.floating_point import FloatingPoint
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

INTEGER = {name: entry["target"] for name, entry in yaml.safe_load(METHODS_FILE.read_text()).items() if "target" in entry}
OPENVINO, AVX2, ONNXRUNTIME = map(load_target, ("openvino-cpu", "openvino-cpu-avx2", "onnxruntime-cpu"))


class Hybrid(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped, self.dense = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 6, 1)
        self.norm, self.queries, self.head = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 5)
        self.norm.weight.data = torch.tensor([0.1, 1.0, 1.0, 2.0, 4.0, 0.3])

    def forward(self, x):
        x = self.dense(nn.functional.silu(self.grouped(nn.functional.silu(self.depthwise(self.stem(x).relu())))))
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        queries = self.queries(tokens).unflatten(2, (2, 3)).transpose(1, 2)
        attended = (queries @ queries.transpose(-2, -1)).softmax(-1) @ queries
        return self.head(attended.transpose(1, 2).flatten(2)).mean(1)


@pytest.fixture(scope="module")
def calibrated():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, images = Hybrid().eval(), torch.randn(8, 3, 8, 8)
    return model, qhyvit.calibrate(model, images)


@pytest.fixture(scope="module")
def quantized(calibrated):
    """The sites by name, and the quantizers that `qhyvit-integer` finds."""
    model, calibration = calibrated
    found = qhyvit.quantize(model, calibration, "qhyvit-integer", "w4a8").quantizers
    return {site.name: site for site in calibration.model.sites}, {name: dict(operands) for name, operands in found.items()}


@pytest.mark.parametrize("bits", ["w8a8", "w4a4"])
@pytest.mark.parametrize(("method", "target"), INTEGER.items())
def test_target_of_a_method_executes_all_that_it_finds(calibrated, method, target, bits):
    model, calibration = calibrated
    found = qhyvit.quantize(model, calibration, method, bits).quantizers
    require_executable(calibration.model, found, load_target(target))


def test_some_dense_layer_has_scales_per_channel_that_the_weight_has_absorbed(quantized):
    _, found = quantized
    assert any(isinstance(operands.get("weight"), RescaledWeightQuantizer) for operands in found.values())


def per_channel(channels, scheme="asymmetric", axis=1, **changes):
    scale = torch.linspace(0.1, 0.2, channels)
    zero_point = torch.arange(channels).float() if scheme == "asymmetric" else torch.zeros(channels)
    return replace(UniformQuantizer(8, scheme, scale, zero_point, axis), **changes)


def per_tensor(scheme="symmetric", zero_point=0.0, bits=8):
    return UniformQuantizer(bits, scheme, torch.tensor(0.1), torch.tensor(zero_point))


def absorbing(quantizer, channel_rescale):
    return RescaledWeightQuantizer(quantizer.bits, quantizer.scheme, quantizer.scale, quantizer.zero_point, channel_rescale)


WEIGHT = per_channel(6, "symmetric", 0)
VIOLATIONS = {  # site, operands, target, reason
    "scales per input channel of a dense convolution": ("dense", {"input": per_channel(8, "symmetric")}, OPENVINO, "per_channel symmetric"),
    "scales per input channel of a linear layer": ("queries", {"input": per_channel(6, "symmetric", -1)}, OPENVINO, "per_channel"),
    "scales that the weight has not absorbed": (
        "dense",
        {"input": per_tensor(), "weight": absorbing(WEIGHT, torch.linspace(1, 2, 8))},
        OPENVINO,
        "its weight has a per_input_channel",
    ),
    "other scales than the weight has absorbed": (
        "dense",
        {"input": per_channel(8, "symmetric"), "weight": absorbing(WEIGHT, torch.linspace(1, 3, 8))},
        OPENVINO,
        "its input has a per_channel",
    ),
    "absorbed scales and a zero point per channel": (
        "dense",
        {"input": per_channel(8), "weight": absorbing(WEIGHT, torch.linspace(0.1, 0.2, 8))},
        OPENVINO,
        "its input has a per_channel asymmetric",
    ),
    "scales per input channel of a grouped convolution": ("grouped", {"input": per_channel(8, "symmetric")}, OPENVINO, "per_channel"),
    "a zero point per channel of a depthwise convolution": ("depthwise", {"input": per_channel(8)}, ONNXRUNTIME, "per_channel asymmetric"),
    "a product with a zero point": ("matmul1", {"left": per_tensor("asymmetric", 3.0)}, OPENVINO, "per_tensor asymmetric"),
    "an unsigned right operand": ("matmul1", {"right": per_tensor("asymmetric")}, OPENVINO, "per_tensor unsigned"),
    "a scale per head": ("matmul1", {"left": per_channel(2, "symmetric", -3)}, OPENVINO, "per_channel symmetric"),
    "8-bit weights with int16 sums": ("dense", {"weight": WEIGHT}, AVX2, "of 8 bits; .* at most 7 bits"),
    "7 bits and a zero point with int16 sums": ("matmul1", {"right": per_tensor("asymmetric", 3.0, 7)}, AVX2, "symmetric grid of 8 bits"),
    "asymmetric weights": ("dense", {"weight": per_channel(6, "asymmetric", 0)}, OPENVINO, "per_channel asymmetric"),
    "an operand in FP32": ("dense", {"input": FloatingPoint()}, OPENVINO, "its input has a FP32 grid, not a uniform one"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_violated_target_is_named_with_site_reason_and_method(calibrated, quantized, violation):
    site, changes, target, reason = VIOLATIONS[violation]
    _, found = quantized
    plain = {"input": per_tensor(), "weight": replace(WEIGHT, bits=4)} if site in ("dense", "queries") else found[site]
    quantizers = found | {site: {**plain, **changes}}
    method = {"openvino-cpu": "qhyvit-integer", "openvino-cpu-avx2": "qhyvit-integer-avx2", "onnxruntime-cpu": "qhyvit-integer-onnxruntime"}
    with pytest.raises(InputError, match=rf"^site {site}: .*{reason}.*; quantize with {method[target.name]}$"):
        require_executable(calibrated[1].model, quantizers, target)


def test_site_without_quantizers_is_refused(calibrated, quantized):
    _, found = quantized
    missing = {name: operands for name, operands in found.items() if name != "head"}
    with pytest.raises(InputError, match="site head: its input has no quantizer"):
        require_executable(calibrated[1].model, missing, OPENVINO)


EXECUTED = {  # site, operands, target
    "zero points per channel of a depthwise convolution": ("depthwise", {"input": per_channel(8)}, OPENVINO),
    "scales per channel of a depthwise convolution": ("depthwise", {"input": per_channel(8, "symmetric")}, ONNXRUNTIME),
    "a zero point of a dense layer": ("dense", {"input": per_tensor("asymmetric", 7.0), "weight": WEIGHT}, OPENVINO),
    "scales that the weight has absorbed": (
        "dense",
        {"input": per_channel(8, "symmetric"), "weight": absorbing(WEIGHT, torch.linspace(1, 2, 8))},
        OPENVINO,
    ),
    "6 bits and a zero point in a product": ("matmul2", {"right": per_tensor("asymmetric", 3.0, 6)}, AVX2),
    "an unsigned left operand": ("matmul2", {"left": per_tensor("asymmetric"), "right": per_tensor()}, OPENVINO),
}


@pytest.mark.parametrize("case", EXECUTED)
def test_grids_that_a_target_executes_have_no_obstacle(quantized, case):
    name, operands, target = EXECUTED[case]
    sites, found = quantized
    assert obstacle(sites[name], {**found[name], **operands}, target) is None


@pytest.mark.parametrize("name", ["openvino-cpu", "openvino-cpu-avx2", "onnxruntime-cpu"])
def test_file_of_a_target_states_its_name(name):
    assert load_target(name).name == name


def test_edited_target_changes_the_settings_that_decide_quantizers():
    settings = load_preset("qhyvit-integer").quantizer_settings
    assert settings["target"] == OPENVINO.model_dump(mode="json")
    assert settings != load_preset("qhyvit-integer-avx2").quantizer_settings
