import torch
from torch import nn

from qhyvit.analysis.residual import residual_branches
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


def layer() -> nn.Module:
    return nn.Conv2d(4, 4, 1)


class Blocks(nn.Module):
    """Layers in and out of residual branches; ``inner`` bypasses a part of what ``outer`` bypasses."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.outer_first, self.inner, self.outer_last = layer(), layer(), layer()
        self.projected, self.shortcut = layer(), layer()
        self.gate, self.gated = layer(), layer()
        self.source, self.between = layer(), layer()
        self.flat = nn.Linear(4, 4)
        self.bias = nn.Parameter(torch.zeros(1, 4, 1, 1))

    def forward(self, x):
        x = self.stem(x) + self.bias
        y = self.outer_first(x)
        y += self.inner(y).relu()
        x = x + self.outer_last(y)
        x = self.projected(x) + self.shortcut(x)
        x = x * self.gate(x).sigmoid() + 1
        x = self.source(x)
        x = self.between(x) + x
        tokens = self.gated(x + x).flatten(2).transpose(1, 2)
        return self.flat(tokens) + tokens


def test_only_identity_shortcuts_make_branches():
    graph_module = trace(Blocks(), torch.randn(2, 3, 4, 4))
    branches = residual_branches(graph_module)
    inside = [site.name for site in find_sites(graph_module) if site.node in branches]
    assert inside == ["outer_first", "inner", "outer_last", "between", "flat"]


def test_network_without_additions_has_no_branches():
    assert residual_branches(trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), torch.randn(2, 3, 4, 4))) == set()
