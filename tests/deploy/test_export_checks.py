"""Checks of an exported file, and the sentences on how it differs from the simulation."""

from pathlib import Path

import pytest
import torch
from sites import IMAGES, quantizers_of, small_traced
from torch import nn

import qhyvit
from qhyvit.deploy import onnx
from qhyvit.deploy.engines import find_engine, load_engine
from qhyvit.deploy.exporting import Exported, export
from qhyvit.deploy.verification import SiteCheck
from qhyvit.errors import InputError

ONE = IMAGES[:1]
either_format = pytest.mark.parametrize("suffix", [".xml", ".onnx"])


@pytest.fixture(scope="module")
def model():
    return small_traced()


def test_remarks_name_each_site_that_differs():
    checks = [
        SiteCheck("exact", "integer", 0, saturates=False),
        SiteCheck("rounded", "float", 0, saturates=False),
        SiteCheck("other", "float", 0.3, saturates=False),
        SiteCheck("slightly saturated", "integer", 0.25, saturates=True),
        SiteCheck("saturated", "integer", 0.5, saturates=True),
    ]
    logits, kept, floating_point, other, saturated = Exported(Path("model.xml"), checks, ["kept"], 0.0123).remarks
    assert "at most 1.2 % of the largest" in logits
    assert kept == "FP32, as asked for: kept."
    assert floating_point.endswith(": rounded, other.")
    assert other.startswith("other differs from the simulation by 0.3 of its largest output")
    assert "computes 2 sites with 8-bit weights wrongly, most of all saturated, by 0.5 of" in saturated
    assert "qhyvit-integer-avx2" in saturated


def test_exact_file_has_one_remark():
    assert len(Exported(Path("model.xml"), [SiteCheck("exact", "integer", 0, saturates=False)], [], 0.0).remarks) == 1


def test_difference_is_the_largest_of_four_inferences(model, tmp_path, monkeypatch):
    """An engine that is wrong in its last inference alone: the second one on all cores, after two with one thread."""
    run, inferences = onnx.run, []

    def run_wrongly_at_last(compiled, inputs):
        outputs = run(compiled, inputs)
        if len(outputs) > 1:  # sites on their own, not the network
            return outputs
        inferences.append(outputs)
        return [outputs[0] + 10 * outputs[0].abs().max()] if len(inferences) == 4 else outputs

    monkeypatch.setattr(onnx, "run", run_wrongly_at_last)
    assert export(model, quantizers_of(model, IMAGES, 6, 6), ONE, tmp_path / "model.onnx").difference > 1


@either_format
def test_share_counts_multiply_accumulates(model, tmp_path, suffix):
    path = export(model, quantizers_of(model, IMAGES, 6, 6), ONE, tmp_path / f"model{suffix}").path
    pixels, channels, tokens = 16, 8, 16
    by_hand = pixels * (4 * 48 + 4 * 9 + 8 * 4) + 2 * tokens * channels * channels + 2 * tokens * tokens * channels + 2 * channels
    assert sum(macs for macs, _ in find_engine(path).products(path, load_engine(path).compiled)) == by_hand


def test_share_counts_convolutions_whose_weights_onnx_runtime_packs(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    qhyvit.quantize(network.eval(), IMAGES, "minmax", "w8a8").export(tmp_path / "model.onnx")
    pixels = 14 * 14
    by_hand = {pixels * 16 * 27, pixels * 4 * 16, pixels * 4 * 5}
    assert {macs for macs, _ in onnx.products(tmp_path / "model.onnx", load_engine(tmp_path / "model.onnx").compiled)} == by_hand


class Mixed(nn.Module):
    """A product whose left operand is transposed, and a transposed convolution, which stays FP32."""

    def __init__(self):
        super().__init__()
        self.embed, self.up, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.ConvTranspose2d(8, 6, 2, stride=2), nn.Conv2d(6, 5, 1)

    def forward(self, x):
        x = self.embed(x)
        tokens = x.flatten(2).mT
        mixed = tokens @ (tokens.mT @ (tokens * 2)).softmax(-1)
        return self.head(self.up(mixed.mT.unflatten(2, (4, 4)))).mean((2, 3))


@either_format
def test_share_counts_transposed_operands_and_convolutions(tmp_path, suffix):
    torch.manual_seed(0)
    quantized = qhyvit.quantize(Mixed().eval(), IMAGES, "minmax", "w8a8")
    path = quantized.export(tmp_path / f"model{suffix}").path
    pixels, channels = 16, 8
    transposed = pixels * 8 * 6 * 4
    by_hand = pixels * 8 * 48 + 2 * pixels * channels**2 + transposed + 4 * pixels * 6 * 5
    products = find_engine(path).products(path, load_engine(path).compiled)
    assert sum(macs for macs, _ in products) == by_hand
    assert (transposed, False) in products


@either_format
def test_file_for_two_images_takes_whole_batches(model, tmp_path, suffix):
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    engine = load_engine(export(model, quantizers, IMAGES[:2], tmp_path / f"model{suffix}").path, threads=1)
    simulated = model.with_quantizers(quantizers)(IMAGES)
    assert float((engine.logits(IMAGES) - simulated).abs().max() / simulated.abs().max()) < 1e-3
    with pytest.raises(InputError, match=r"takes 2 images \[3, 16, 16\] at a time"):
        engine.logits(torch.zeros(3, 3, 16, 16))
