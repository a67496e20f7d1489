"""The sensitivity of sites against copies of the network with quantizers inserted."""

from copy import deepcopy

import pytest
import torch
from conftest import make_task
from torch import nn

from qhyvit.analysis.sensitivity import site_sensitivity
from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.uniform import UniformQuantizer

GRIDS = {
    "first": {"input": UniformQuantizer(3, "symmetric", torch.tensor(3.0), torch.tensor(0.0))},
    "second": {"input": UniformQuantizer(2, "symmetric", torch.tensor(9.0), torch.tensor(0.0))},
    "head": {"input": UniformQuantizer(4, "symmetric", torch.tensor(0.02), torch.tensor(0.0))},
}


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head((self.first(x) * self.second(x)).relu().mean((2, 3)))


def costs(model, graph_module, images, labels, quantizers):
    """KL divergence and drop by the definition, in float64."""
    copy = deepcopy(graph_module)
    insert_quantizers(copy, find_sites(copy), quantizers)
    with torch.no_grad():
        exact, logits = model(images).double(), copy(images).double()
    kl = (exact.softmax(1) * (exact.log_softmax(1) - logits.log_softmax(1))).sum(1).mean()
    drop = ((exact.argmax(1) == labels).sum() - (logits.argmax(1) == labels).sum()) / len(labels)
    return [float(kl), 100 * float(drop)]


@pytest.mark.parametrize("bias", [0.0, 0.3], ids=["quantized", "corrected"])
def test_costs_equal_those_of_networks_with_quantizers(monkeypatch, bias):
    monkeypatch.setattr("qhyvit.analysis.sensitivity.CHUNK", 70)  # images at a time; the last time 60
    model = Branches()
    images = 3 * torch.randn(200, 3, 6, 6)
    graph_module = trace(model, images)
    labels = model(images).argmax(1)
    labels[::3] = (labels[::3] + 1) % 5  # FP32 is wrong on a third
    network, changed = make_task(graph_module, [images], None).model, {"head.bias": model.head.bias.detach() + torch.arange(5) * bias}
    table = site_sensitivity(network, GRIDS, images, labels, changed).set_index("site")
    graph_module = network.with_parameters(changed).graph_module
    assert list(table.index) == list(GRIDS)
    for site in GRIDS:
        alone = costs(model, graph_module, images, labels, {site: GRIDS[site]})
        without = costs(model, graph_module, images, labels, {name: grid for name, grid in GRIDS.items() if name != site})
        got = table.loc[site, ["alone_kl", "alone_drop", "without_kl", "without_drop"]].tolist()
        assert got == pytest.approx([*alone, *without], rel=1e-4, abs=1e-7)
    (everything,) = table.all_kl.unique()
    assert everything == pytest.approx(costs(model, graph_module, images, labels, GRIDS)[0], rel=1e-4)
    assert table.alone_drop.max() > 0
