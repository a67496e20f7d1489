import warnings

import pytest
import torch
from torch import nn

import qhyvit
from qhyvit.cli.convert import _export
from qhyvit.deploy.engines import load_engine
from qhyvit.processor import adds_in_16_bits

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Grouped(nn.Module):
    """Convolution of two groups of ``channels`` input channels each, on maps of 4 x 4 pixels."""

    def __init__(self, channels, kernel=1, groups=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * channels, 4, stride=4)
        self.grouped = nn.Conv2d(2 * channels, 32, kernel, padding=kernel // 2, groups=groups)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.grouped(self.stem(x).relu()).relu().mean((2, 3)))


@pytest.mark.skipif(adds_in_16_bits(), reason="OpenVINO adds pairs of 8-bit products in 16 bits on this processor")
def test_site_that_amx_computes_wrongly_is_right_on_this_processor_and_named_if_it_is_an_integer_one(tmp_path):
    """With 72 channels AMX is off by more than half of the largest output, so its own check writes floating point."""
    torch.manual_seed(0)
    quantized = qhyvit.quantize(Grouped(72).eval(), IMAGES, method="qhyvit-integer", bits="w8a8")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        exported = quantized.export(tmp_path / "model.xml")
    named = [str(warning.message) for warning in warned if "AMX" in str(warning.message)]
    assert len(named) == (0 if "grouped" in exported.in_floating_point else 1)
    assert all("may compute grouped wrongly" in message for message in named)
    found, simulated = load_engine(exported.path).logits(IMAGES), quantized(IMAGES)
    assert (found - simulated).abs().max() < 0.02 * simulated.abs().max()


def test_convert_has_the_warning_among_its_remarks(tmp_path):
    quantized = qhyvit.quantize(Grouped(72).eval(), IMAGES, method="qhyvit-integer", bits="w8a8")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*AMX")
        remarks = _export(quantized, tmp_path)
    named = [remark for remark in remarks if "Multiplied in floating point" in remark or "On processors with AMX" in remark]
    assert len(named) == 1
    assert named[0].startswith("model.xml: ")
    assert "grouped" in named[0]


@pytest.mark.parametrize(
    ("network", "suffix"),
    [
        pytest.param(Grouped(64), ".xml", id="one whole tile"),
        pytest.param(Grouped(128), ".xml", id="two whole tiles"),
        pytest.param(Grouped(72, kernel=3), ".xml", id="nine pixels"),
        pytest.param(Grouped(72, groups=1), ".xml", id="one group"),
        pytest.param(Grouped(72), ".onnx", id="ONNX Runtime"),
    ],
)
def test_sites_that_amx_computes_right_stay_integers_without_a_warning(network, suffix, tmp_path):
    quantized = qhyvit.quantize(network.eval(), IMAGES, method="qhyvit-integer", bits="w8a8")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*AMX")
        exported = quantized.export(tmp_path / f"model{suffix}")
    assert "grouped" not in exported.in_floating_point
