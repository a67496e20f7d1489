"""Correction of the channels of layers, against a layer that is worked out by hand and on a small hybrid network."""

import numpy as np
import pytest
import torch
from tiny_hybrid import TinyHybrid, with_buffers
from torch import nn

import qhyvit
from qhyvit.calibration.losses import kl_loss
from qhyvit.config.targets import load_target
from qhyvit.config.tuning import CorrectionSettings
from qhyvit.deploy.executable import require_executable
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods.task import CalibrationImages
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.tuning import correction
from qhyvit.tuning.correction import _slope, correct

IMAGES = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Task:
    """Model and images: all that the correction reads of a task."""

    def __init__(self, model, images):
        self.model = model
        self.calibration = CalibrationImages(lambda: [images], None, 0)


class TwoLayers(nn.Module):
    """Convolution, ReLU, mean over the pixels, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


def coarse(x, bits, axis=None):
    """A grid per tensor, or per slice along ``axis``, over the range of ``x``."""
    low, high = torch.aminmax(x) if axis is None else torch.aminmax(x.movedim(axis, 0).flatten(1), dim=1)
    return UniformQuantizer.covering(low, high, bits, "asymmetric", axis)


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return TwoLayers().eval()


@pytest.fixture
def quantizers(layers):
    hidden = layers.conv(IMAGES).relu().mean((2, 3)).detach()
    return {
        "conv": {"input": coarse(IMAGES, 3), "weight": coarse(layers.conv.weight.detach(), 3, 0)},
        "head": {"input": coarse(hidden, 3), "weight": coarse(layers.head.weight.detach(), 3, 0)},
    }


@pytest.mark.parametrize("slope", [True, False])
def test_each_channel_gets_its_least_squares_line_given_the_corrected_layers_before(layers, quantizers, slope):
    """NumPy's fit in float64, of a layer whose input is what the corrected first layer gives."""
    model = TracedModel.from_module(layers, IMAGES[:2])
    corrected, changed = correct(Task(model, IMAGES), quantizers, CorrectionSettings(images=64, slope=slope))

    def product(name, x):
        weight = quantizers[name]["weight"].fake_quantize(layers.get_parameter(f"{name}.weight"))
        apply = nn.functional.conv2d if name == "conv" else nn.functional.linear
        return apply(quantizers[name]["input"].fake_quantize(x), weight).detach()

    def lines(products, references):
        pairs = zip(products.movedim(1, 0).flatten(1).double(), references.movedim(1, 0).flatten(1).double(), strict=True)
        return torch.tensor([fit(x, y) if slope else [1.0, float((y - x).mean())] for x, y in pairs])

    first = product("conv", IMAGES)
    of_conv = lines(first, layers.conv(IMAGES).detach())
    hidden = (first * of_conv[:, 0].view(-1, 1, 1) + of_conv[:, 1].view(-1, 1, 1)).relu().mean((2, 3))
    of_head = lines(product("head", hidden), layers(IMAGES).detach())
    for name, line in (("conv", of_conv), ("head", of_head)):
        torch.testing.assert_close(changed[f"{name}.bias"], line[:, 1], rtol=1e-4, atol=1e-5)
        scale = corrected[name]["weight"].scale / quantizers[name]["weight"].scale
        torch.testing.assert_close(scale, line[:, 0], rtol=1e-4, atol=1e-5)


def fit(x, y):
    """Slope, between a half and two, and the intercept that it leaves."""
    slope = min(max(float(np.polyfit(x, y, 1)[0]), 0.5), 2.0)
    return [slope, float(y.mean() - slope * x.mean())]


def test_constant_output_gets_a_bias_alone(layers, quantizers):
    same = IMAGES[:1].repeat(64, 1, 1, 1)
    corrected, changed = correct(
        Task(TracedModel.from_module(layers, IMAGES[:2]), same), quantizers, CorrectionSettings(images=64, slope=True)
    )
    assert torch.equal(corrected["head"]["weight"].scale, quantizers["head"]["weight"].scale)
    assert not torch.equal(changed["head.bias"], layers.head.bias)


@pytest.mark.parametrize(("factor", "slope"), [(5, 2), (1.5, 1.5), (0.1, 0.5)])
def test_slopes_are_between_a_half_and_two(factor, slope):
    assert _slope(IMAGES, factor * IMAGES, [1, -1, 1, 1]).tolist() == pytest.approx([slope] * 3)


def test_layer_without_a_bias_stays(layers, quantizers):
    layers.conv.bias = None
    model = TracedModel.from_module(layers, IMAGES[:2])
    _, changed = correct(Task(model, IMAGES), quantizers, CorrectionSettings(images=64, slope=True))
    assert changed.keys() == {"head.weight", "head.bias"}


def test_weight_with_one_scale_gets_no_slope(layers, quantizers):
    quantizers["head"]["weight"] = coarse(layers.head.weight.detach(), 3)
    model = TracedModel.from_module(layers, IMAGES[:2])
    corrected, changed = correct(Task(model, IMAGES), quantizers, CorrectionSettings(images=64, slope=True))
    assert changed.keys() == {"conv.weight", "conv.bias", "head.bias"}
    assert torch.equal(corrected["head"]["weight"].scale, quantizers["head"]["weight"].scale)


def test_integers_of_the_weights_stay(layers, quantizers):
    model = TracedModel.from_module(layers, IMAGES[:2])
    corrected, changed = correct(Task(model, IMAGES), quantizers, CorrectionSettings(images=64, slope=True))
    for name, operands in quantizers.items():
        before = operands["weight"].quantize(layers.get_parameter(f"{name}.weight").detach())
        assert torch.equal(corrected[name]["weight"].quantize(changed[f"{name}.weight"]), before)


@pytest.mark.parametrize(("start", "method"), [("qhyvit-cv", "qhyvit-corrected"), ("qhyvit-integer", "qhyvit-integer-corrected")])
def test_network_comes_closer_to_fp32_on_unseen_images(start, method):
    torch.manual_seed(0)
    module, unseen = TinyHybrid().eval(), torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    calibration = qhyvit.calibrate(module, IMAGES)
    with torch.no_grad():
        searched, corrected = (
            (qhyvit.quantize(module, calibration, name, "w3a3")(unseen) - module(unseen)).square().mean() for name in (start, method)
        )
    assert corrected < 0.8 * searched


def test_integer_kernels_execute_what_is_corrected():
    module = TinyHybrid().eval()
    quantized = qhyvit.quantize(module, IMAGES, "qhyvit-integer-corrected", "w4a4")
    assert any(isinstance(operands.get("weight"), RescaledWeightQuantizer) for operands in quantized.quantizers.values())
    model = qhyvit.calibrate(module, IMAGES[:8]).model.with_parameters(quantized.changed)
    require_executable(model, quantized.quantizers, load_target("openvino-cpu"))


class Shared(TwoLayers):
    """Two linear layers with one weight."""

    def forward(self, x):
        hidden = self.conv(x).relu().mean((2, 3))
        return self.head(hidden) + nn.functional.linear(hidden, self.head.weight)


class Read(TwoLayers):
    """Another operator reads the weight of the linear layer."""

    def forward(self, x):
        return super().forward(x) / self.head.weight.norm(dim=1)


class ReadBias(TwoLayers):
    """Another operator reads the bias of the linear layer."""

    def forward(self, x):
        return self.head.bias * super().forward(x)


@pytest.mark.parametrize("network", [Shared, Read, ReadBias])
def test_layer_with_a_parameter_that_another_operator_reads_stays(quantizers, network):
    model = TracedModel.from_module(network().eval(), IMAGES[:2])
    _, changed = correct(Task(model, IMAGES), quantizers, CorrectionSettings(images=64, slope=True))
    assert changed.keys() == {"conv.weight", "conv.bias"}


def test_weights_and_biases_that_are_buffers_are_corrected(layers, quantizers):
    """As the same numbers that are parameters."""
    logits = []
    for network in (layers, with_buffers(layers)):
        model = TracedModel.from_module(network, IMAGES[:2])
        corrected, changed = correct(Task(model, IMAGES), quantizers, CorrectionSettings(images=64, slope=True))
        logits.append(model.with_parameters(changed).with_quantizers(corrected)(IMAGES))
        assert len(changed) == 4
    assert torch.equal(*logits)


def test_correction_that_raises_the_divergence_on_other_images_is_not_taken(layers):
    """One pixel of an image is clipped and hardly matters for the logits, but decides the means of the outputs."""
    layers.conv.weight.data.abs_()
    images = torch.cat([IMAGES, IMAGES.flip(2)])
    start = {"conv": {"input": coarse(images, 8), "weight": coarse(layers.conv.weight.detach(), 8, 0)}}
    images[0, :, 8, 8] = -1e4
    found = correct(Task(TracedModel.from_module(layers, IMAGES[:2]), images), start, CorrectionSettings(images=64, slope=False))
    assert found == (start, {})


def test_divergence_is_of_images_that_the_correction_was_not_fitted_on(layers, quantizers, monkeypatch):
    used, divergence = [], correction._divergence
    monkeypatch.setattr(correction, "_divergence", lambda *arguments: used.append(arguments[-1]) or divergence(*arguments))
    images = torch.cat([IMAGES, IMAGES.flip(2), IMAGES.flip(3)])
    correct(Task(TracedModel.from_module(layers, IMAGES[:2]), images), quantizers, CorrectionSettings(images=64, slope=True))
    assert len(used) == 2
    assert all(torch.equal(each, images[64:128]) for each in used)


def test_correction_that_lowers_the_divergence_on_other_images_is_taken(layers, quantizers):
    images = torch.cat([IMAGES, IMAGES.flip(2)])
    model = TracedModel.from_module(layers, IMAGES[:2])
    corrected, changed = correct(Task(model, images), quantizers, CorrectionSettings(images=64, slope=True))
    before, after = (
        float(kl_loss(model.with_parameters(values).with_quantizers(found)(images[64:]), layers(images[64:]), torch.Generator()))
        for found, values in ((quantizers, {}), (corrected, changed))
    )
    assert len(changed) == 4
    assert after < before
