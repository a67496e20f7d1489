"""Other tools on a small network: an int8 file that computes nearly what the FP32 network computes."""

import pytest
import torch
from small_network import small_network

from qhyvit.deploy.engines import load_engine
from qhyvit.peers import PEERS

FILES = {"nncf": "model.xml", "nncf-mixed": "model.xml", "nncf-transformer": "model.xml", "onnxruntime": "model.onnx"}


@pytest.fixture(scope="module")
def network():
    return small_network().traced


@pytest.mark.parametrize("peer", PEERS)
def test_peer_writes_an_int8_model_near_the_fp32_network(network, tmp_path, peer):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 1, 1, generator=generator) * torch.rand(16, 3, 16, 16, generator=generator)
    path = tmp_path / FILES[peer]
    before = {name: tensor.clone() for name, tensor in network.graph_module.state_dict().items()}
    PEERS[peer](network, images, path)
    engine = load_engine(path)
    expected, found = network.graph_module(images), engine.logits(images)
    spread = expected.std(dim=0).mean()
    error = (found - expected).square().mean().sqrt()
    assert 0 < error < 0.2 * spread
    assert engine.int8_share() > 0.3
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.graph_module.state_dict().items())


def test_peer_reads_all_calibration_images(network, tmp_path):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    outlier = torch.cat([images, 20 * images[:1]])
    for name, calibration in (("narrow", images), ("wide", outlier)):
        PEERS["onnxruntime"](network, calibration, tmp_path / f"{name}.onnx")
    narrow, wide = (load_engine(tmp_path / f"{name}.onnx").logits(outlier[-1:]) for name in ("narrow", "wide"))
    expected = network.graph_module(outlier[-1:])
    assert (wide - expected).abs().max() < (narrow - expected).abs().max()
