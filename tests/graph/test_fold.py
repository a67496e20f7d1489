import pytest
import torch
from torch import nn

from qhyvit.config.models import Model
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.models.zoo import build


def randomize_batch_norms(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return model.eval()


class TwoReaders(nn.Module):
    """The convolution's output is read by another node than the norm, so the norm must stay."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_a_norm_whose_input_is_read_elsewhere_is_not_folded():
    model = randomize_batch_norms(TwoReaders())
    x = torch.randn(2, 3, 8, 8)
    graph_module = trace(model, x)
    assert fold_batch_norm(graph_module) == 0
    torch.testing.assert_close(graph_module(x), model(x))


# Layers that the released code of Q-HyViT wraps: 90 in every MobileViTv1, 65 in every MobileViTv2.
@pytest.mark.parametrize(("name", "norms", "sites"), [("mobilevit_xxs", 32, 90), ("mobilevitv2_050", 25, 65)])
def test_folding_keeps_the_network_and_all_sites_are_found(name, norms, sites):
    model = randomize_batch_norms(build(Model(family="", constructor=name), classes=10))
    x = torch.randn(2, 3, 64, 64)
    graph_module = trace(model, x)
    assert fold_batch_norm(graph_module) == norms
    expected = model(x)
    assert float((graph_module(x) - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    found = find_sites(graph_module)
    assert len(found) == sites
    assert len({site.name for site in found}) == sites
    modules = dict(model.named_modules())
    for site in found:
        if site.kind == "conv":
            assert site.groups == modules[site.name].groups
