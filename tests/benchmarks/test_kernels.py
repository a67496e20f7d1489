"""Time per kind of kernel of an exported network."""

import torch
from tiny_hybrid import TinyHybrid

from benchmarks import kernels
from qhyvit.deploy.exporting import export
from qhyvit.graph.traced_model import TracedModel


def test_kernels_of_each_kind_take_time(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "ROUNDS", 5)
    image = torch.rand(1, 3, 16, 16)
    export(TracedModel.from_module(TinyHybrid().eval(), torch.rand(2, 3, 16, 16)), {}, image, tmp_path / "model.xml")
    found = kernels.milliseconds(tmp_path / "model.xml", image)
    assert {"convolutions", "linear layers"} <= set(found.index)
    assert found.min() >= 0
    assert found.sum() > 0
