import torch
from torch import nn

from qhyvit.analysis.norms import find_norms, norm_table
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.conv_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.group_norm = nn.GroupNorm(2, 4)
        self.middle = nn.Conv2d(4, 4, 1)
        self.free_norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm(4)
        self.reader, self.other_reader, self.last = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        x = self.conv_norm(self.conv(x)).relu()
        x = self.free_norm(self.middle(self.group_norm(x)).relu())
        tokens = self.layer_norm(x.flatten(2).transpose(1, 2))
        return self.last(self.reader(tokens)) + self.other_reader(tokens.exp())


def table(*bridge: str):
    graph_module = trace(Norms(), torch.randn(2, 3, 4, 4))
    norms = find_norms(graph_module)
    fold_batch_norm(graph_module)
    return norm_table(norms, graph_module, {site for site in find_sites(graph_module) if site.name in bridge})


def test_types_places_and_folding():
    found = table()
    assert found.type.tolist() == ["batch_norm", "group_norm", "batch_norm", "layer_norm"]
    assert found.norm.tolist() == ["conv_norm", "group_norm", "free_norm", "layer_norm"]
    assert found.folded.tolist() == [True, False, False, False]
    assert not found.bridge.any()


def test_norm_belongs_to_the_layer_before_or_else_to_readers():
    def members(*bridge: str) -> list[str]:
        found = table(*bridge)
        return found.norm[found.bridge].tolist()

    assert members("conv") == ["conv_norm"]
    assert members("middle") == ["group_norm"]
    assert members("reader") == members("other_reader") == ["free_norm", "layer_norm"]
    assert members("last") == []
