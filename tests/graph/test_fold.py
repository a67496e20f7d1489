import pytest
import torch
from torch import nn
from traced_networks import SIZE, traced_network

from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.operators import aten
from qhyvit.graph.trace import trace


class TwoReaders(nn.Module):
    """The convolution's output is read by another node than the norm, so the norm must stay."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_norm_whose_input_has_other_readers_is_not_folded():
    model = TwoReaders().eval()
    x = torch.randn(2, 3, 8, 8)
    graph_module = trace(model, x)
    assert fold_batch_norm(graph_module) == 0
    torch.testing.assert_close(graph_module(x), model(x))


# Layers that the released code of Q-HyViT wraps: 90 in every MobileViTv1, 65 in every MobileViTv2.
@pytest.mark.parametrize(("name", "norms", "sites"), [("mobilevit_xxs", 32, 90), ("mobilevitv2_050", 25, 65)])
def test_folded_network_is_equal_and_has_all_sites(name, norms, sites):
    model, traced = traced_network(name)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == norms
    assert not traced.graph_module.graph.find_nodes(op="call_function", target=aten.batch_norm.default)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected, folded = model(x), traced.graph_module(x)
    assert float((folded - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert len({site.name for site in traced.sites}) == len(traced.sites) == sites
    modules = dict(model.named_modules())
    for site in traced.sites:
        if site.kind == "conv":
            assert site.groups == modules[site.name].groups
