"""Devices of modules and quantized models; the device meta, whose tensors have no values, stands for a GPU."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch import nn

import qhyvit
from qhyvit.api.placement import place, place_operators
from qhyvit.graph.fake_quant import FakeQuantize
from qhyvit.graph.traced_model import TracedModel


class Positioned(nn.Module):
    """Makes tensors on the device of its images: positions, a class token, and a mask of another type."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.positions = nn.Embedding(4, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).mT + self.positions(torch.arange(4, device=x.device))
        tokens = torch.cat([torch.zeros(x.shape[0], 1, 8, device=x.device), tokens], 1)
        return self.head((tokens * (tokens > 0).to(x.device, torch.float32)).mean(1))


def devices(graph_module):
    """The devices that operators of a graph state."""
    arguments = [argument for node in graph_module.graph.nodes for argument in (*node.args, *node.kwargs.values())]
    return [argument.type for argument in arguments if isinstance(argument, torch.device)]


def state(graph_module, device):
    """Write a device into the operators of a graph that state one, as a GPU is written into those of a model that is there."""
    place_operators(graph_module, torch.device(device))
    assert devices(graph_module) == [device] * 3


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("method", ["minmax", "qhyvit", "qhyvit-tuned"])
def test_module_on_a_gpu_is_quantized_there(images, tmp_path, method):
    pytest.importorskip("openvino")
    module = Positioned()
    quantized = qhyvit.quantize(module.cuda(), images, method=method)
    expected = quantized(images.cuda()).cpu()
    quantized.export(tmp_path / "model.xml")
    torch.testing.assert_close(expected, module(images.cuda()).cpu(), rtol=0, atol=0.1)
    torch.testing.assert_close(quantized.cpu()(images), expected, rtol=0, atol=0.02)  # values between two integers may take the other


def test_scales_follow_a_quantized_model_to_another_device(images):
    quantized = qhyvit.quantize(Positioned(), images, method="minmax").to("meta")
    inserted = [module.quantizer for module in quantized.modules() if isinstance(module, FakeQuantize)]
    assert {quantizer.scale.device.type for quantizer in inserted} == {"meta"}
    assert quantized.quantizers["stem"]["input"].scale.device.type == "cpu"


def test_the_search_has_a_copy_of_the_network_on_the_cpu(images, monkeypatch):
    module = Positioned()
    on_cpu = qhyvit.calibrate(module, images)
    elsewhere = replace(on_cpu, model=on_cpu.model.copy_to("meta"), batches=[batch.to("meta") for batch in on_cpu.batches])
    state(on_cpu.model.graph_module, "meta")
    find = Mock(side_effect=InterruptedError)
    monkeypatch.setattr("qhyvit.api.quantization.find_quantization", find)
    monkeypatch.setattr("qhyvit.api.quantization.is_graph_of", Mock(return_value=True))
    monkeypatch.setattr(TracedModel, "copy_to", lambda model, device: {"cpu": on_cpu.model}[device])  # the device meta has no values
    with pytest.raises(InterruptedError):
        qhyvit.quantize(module, elsewhere, method="minmax")
    assert find.call_args.args[0].model is on_cpu.model
    assert devices(on_cpu.model.graph_module) == ["cpu"] * 3


def test_calibration_elsewhere_makes_tensors_there(images, monkeypatch):
    run = Mock(side_effect=InterruptedError)
    monkeypatch.setattr("qhyvit.api.calibration.device_of", lambda _: "meta")
    monkeypatch.setattr("qhyvit.api.calibration.capture", run)
    with pytest.raises(InterruptedError):  # after a run of the graph on the device
        qhyvit.calibrate(Positioned(), images)
    assert devices(run.call_args.args[0]) == ["meta"] * 3


def test_tensors_that_operators_make_follow_a_quantized_model(images):
    quantized = qhyvit.quantize(Positioned(), images, method="minmax")
    assert devices(quantized.to("meta").graph_module) == ["meta"] * 3
    assert devices(quantized.traced.graph_module) == ["cpu"] * 3


def test_files_are_of_graphs_that_make_tensors_on_the_cpu(images, tmp_path):
    pytest.importorskip("openvino")
    module = Positioned()
    quantized = qhyvit.quantize(module, images, method="minmax")
    state(quantized.traced.graph_module, "meta")
    quantized.save(tmp_path / "model.safetensors")
    quantized.export(tmp_path / "model.xml")
    assert torch.equal(qhyvit.load(tmp_path / "model.safetensors", module)(images), quantized(images))


def test_a_graph_that_returns_computes_what_it_has(images):
    model = qhyvit.calibrate(Positioned(), images).model
    expected = model.graph_module(images)
    for device in ("cpu:0", "cpu"):
        place(model, device)
        assert torch.equal(model.graph_module(images), expected)
