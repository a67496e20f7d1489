"""Other tools on a small network: an int8 file that computes nearly what the FP32 network computes."""

from pathlib import Path

import nncf
import openvino
import pytest
import torch
from small_network import small_network
from torch import Tensor, nn

from qhyvit.config.deployment import PEER_FORMATS, SUFFIXES
from qhyvit.deploy.engines import load_engine
from qhyvit.graph.traced_model import TracedModel
from qhyvit.peers import PEERS

IN_FLOAT = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32"}  # rounded, but without kernels that saturate on some processors


@pytest.fixture(scope="module")
def network():
    return small_network().traced


def logits(path: Path, images: Tensor) -> Tensor:
    if path.suffix == ".onnx":
        return load_engine(path).logits(images)
    compiled = openvino.Core().compile_model(path, "CPU", IN_FLOAT)
    return torch.cat([torch.from_numpy(compiled(image.numpy())[0].copy()) for image in images.split(1)])


@pytest.mark.parametrize("peer", PEERS)
def test_peer_writes_an_int8_model_near_the_fp32_network(network, tmp_path, peer):
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"model{SUFFIXES[PEER_FORMATS[peer]]}"
    before = {name: tensor.clone() for name, tensor in network.graph_module.state_dict().items()}
    PEERS[peer](network, images, path)
    expected = network.graph_module(images)
    error = (logits(path, images) - expected).norm() / expected.norm()
    assert 0 < error < 0.05
    assert load_engine(path).int8_share() > 0.3
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.graph_module.state_dict().items())


@pytest.mark.parametrize(
    ("peer", "stated"),
    [
        ("nncf", {}),
        ("nncf-avx2", {"overflow_fix": nncf.OverflowFix.ENABLE}),
        ("nncf-mixed", {"preset": nncf.QuantizationPreset.MIXED, "fast_bias_correction": False}),
        ("nncf-transformer", {"model_type": nncf.ModelType.TRANSFORMER}),
    ],
)
def test_variants_of_nncf_state_their_settings(network, tmp_path, monkeypatch, peer, stated):
    asked = {}

    def quantize(model, _, **settings):
        asked.update(settings, overflow_fix=settings["advanced_parameters"].overflow_fix)
        return model

    monkeypatch.setattr(nncf, "quantize", quantize)
    PEERS[peer](network, torch.rand(3, 3, 16, 16), tmp_path / "model.xml")
    defaults = {"preset": None, "model_type": None, "fast_bias_correction": True, "overflow_fix": None, "subset_size": 3}
    assert {name: asked[name] for name in defaults} == defaults | stated


@pytest.mark.parametrize("peer", ["nncf", "onnxruntime"])
def test_peer_reads_all_calibration_images(network, tmp_path, peer):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    outlier = torch.cat([images, 20 * images[:1]])
    suffix = SUFFIXES[PEER_FORMATS[peer]]
    for name, calibration in (("narrow", images), ("wide", outlier)):
        PEERS[peer](network, calibration, tmp_path / f"{name}{suffix}")
    narrow, wide = (logits(tmp_path / f"{name}{suffix}", outlier[-1:]) for name in ("narrow", "wide"))
    expected = network.graph_module(outlier[-1:])
    assert (wide - expected).abs().max() < (narrow - expected).abs().max()


class Gated(nn.Module):
    """Two linear layers in a row on one vector per image, which OpenVINO fuses and computes wrongly, and one on all pixels."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 32, 4, stride=4), nn.Linear(32, 32)
        self.squeeze, self.excite = nn.Linear(32, 8), nn.Linear(8, 32)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.stem(x).flatten(2).mT)
        return (x * self.excite(self.squeeze(x.mean(1)).relu())[:, None]).mean(1)


@pytest.mark.parametrize("peer", [peer for peer, kind in PEER_FORMATS.items() if kind == "openvino"])
def test_linear_layers_that_openvino_fuses_are_convolutions(tmp_path, peer):
    torch.manual_seed(0)
    model = TracedModel.from_module(Gated().eval(), torch.zeros(2, 3, 16, 16))
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "model.xml"
    PEERS[peer](model, images, path)
    kinds = [operation.get_type_name() for operation in openvino.Core().read_model(path).get_ordered_ops()]
    assert (kinds.count("Convolution"), kinds.count("MatMul")) == (3, 1)
    expected = model.graph_module(images)
    assert 0 < (logits(path, images) - expected).norm() / expected.norm() < 0.05
    first, again = (load_engine(path).logits(images) for _ in range(2))
    assert torch.equal(first, again)
