import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.output_sites import find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.uniform import UniformQuantizer


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x).flatten(2)
        return y @ y.transpose(-2, -1)


def covering(x, axis=None):
    if axis is None:
        return UniformQuantizer.covering(x.amin(), x.amax(), 4, "asymmetric")
    flat = x.movedim(axis, 0).flatten(1)
    return UniformQuantizer.covering(flat.amin(1), flat.amax(1), 4, "asymmetric", axis)


def test_quantizers_act_on_weights_and_before_operands():
    model, x = Network(), torch.randn(2, 3, 6, 6)
    graph_module = trace(model, x)
    sites = find_sites(graph_module)
    grids = {"input": covering(x, axis=1), "weight": covering(model.conv.weight.detach(), axis=0)}
    y = F.conv2d(grids["input"].fake_quantize(x), grids["weight"].fake_quantize(model.conv.weight), model.conv.bias).flatten(2)
    left = covering(y.detach())
    insert_quantizers(graph_module, sites, {"conv": grids, sites[1].name: {"left": left}})
    torch.testing.assert_close(graph_module(x), left.fake_quantize(y) @ y.transpose(-2, -1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x):
        y = F.relu(self.first(x))
        return self.third(torch.cos(y + self.second(y)))


@pytest.fixture
def residual():
    model, x = Residual(), torch.randn(2, 3, 6, 6)
    graph_module = trace(model, x)
    return model.requires_grad_(False), x, graph_module, [*find_sites(graph_module), *find_output_sites(graph_module)]


@pytest.mark.parametrize("names", [("activation", "second", "add"), ("add", "second", "activation")], ids=["forward", "backward"])
def test_readers_of_an_output_site_get_fake_quantized_values(residual, names):
    model, x, graph_module, sites = residual
    y = F.relu(model.first(x))
    output = covering(y, axis=1)
    y = output.fake_quantize(y)
    operand = covering(y + 0.1)
    total = y + model.second(operand.fake_quantize(y))
    add = covering(total)
    quantizers = {"activation": {"output": output}, "second": {"input": operand}, "add": {"output": add}}
    insert_quantizers(graph_module, sites, {name: quantizers[name] for name in names})
    torch.testing.assert_close(graph_module(x), model.third(torch.cos(add.fake_quantize(total))))


def test_output_site_without_quantizers_is_unchanged(residual):
    model, x, graph_module, sites = residual
    y = F.relu(model.first(x))
    add = covering(y + model.second(y))
    insert_quantizers(graph_module, sites, {"add": {"output": add}})
    torch.testing.assert_close(graph_module(x), model.third(torch.cos(add.fake_quantize(y + model.second(y)))))


@pytest.mark.parametrize(("name", "operand", "missing"), [("multiply", "output", "multiply"), ("add", "input", "output")])
def test_name_that_is_no_site_is_refused(residual, name, operand, missing):
    _, x, graph_module, sites = residual
    with pytest.raises(KeyError, match=missing):
        insert_quantizers(graph_module, sites, {name: {operand: covering(x)}})
