"""Other tools on a small network: an int8 file that computes nearly what the FP32 network computes."""

from pathlib import Path

import openvino
import pytest
import torch
from small_network import small_network
from torch import Tensor

from qhyvit.config.deployment import PEER_FORMATS, SUFFIXES
from qhyvit.deploy.engines import load_engine
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
