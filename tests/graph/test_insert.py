import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.insert import insert_quantizers
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.uniform import UniformQuantizer, range_to_grid


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x).flatten(2)
        return y @ y.transpose(-2, -1)


def covering(x, axis=None):
    if axis is None:
        return UniformQuantizer(4, "asymmetric", *range_to_grid(x.amin(), x.amax(), 4, "asymmetric"))
    flat = x.movedim(axis, 0).flatten(1)
    return UniformQuantizer(4, "asymmetric", *range_to_grid(flat.amin(1), flat.amax(1), 4, "asymmetric"), axis=axis)


def test_quantizers_act_on_weights_and_before_operands():
    model, x = Network(), torch.randn(2, 3, 6, 6)
    graph_module = trace(model, x)
    sites = find_sites(graph_module)
    grids = {"input": covering(x, axis=1), "weight": covering(model.conv.weight.detach(), axis=0)}
    y = F.conv2d(grids["input"].fake_quantize(x), grids["weight"].fake_quantize(model.conv.weight), model.conv.bias).flatten(2)
    left = covering(y.detach())
    insert_quantizers(graph_module, sites, {"conv": grids, sites[1].name: {"left": left}})
    torch.testing.assert_close(graph_module(x), left.fake_quantize(y) @ y.transpose(-2, -1))
