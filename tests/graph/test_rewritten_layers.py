"""Layers in other forms than that of sites: after tracing they are sites, and compute what PyTorch computes."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.computed_weights import fold_computed_weights
from qhyvit.graph.describe import describe
from qhyvit.graph.operators import aten
from qhyvit.graph.sites import find_sites, site_bias, site_weight
from qhyvit.graph.trace import trace
from qhyvit.graph.unquantized_products import find_unquantized_products


class Standardized(nn.Conv2d):
    """A convolution whose kernels have mean 0 and variance 1, as in Big Transfer (arXiv 1912.11370)."""

    def forward(self, x):
        kernels = self.weight.flatten(1)
        weight = F.batch_norm(kernels[None], None, None, training=True, momentum=0.0, eps=1e-6).view_as(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Lines(nn.Module):
    """A layer on the lines of an image [B, 4, 6, 6]."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.flatten(2))


class Own(nn.Module):
    """A function of an image and a weight, for what has no module."""

    def __init__(self, function, *shape):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.randn(*shape))

    def forward(self, x):
        return self.function(x, self.weight)


def even_padding(groups):
    return nn.Conv2d(4, 4, (4, 3), padding="same", dilation=(1, 2), groups=groups)


class Blur(nn.Module):
    """A fixed filter per channel: its weight and its bias are buffers, and a sum reads the weight too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filters", torch.rand(4, 1, 3, 3))
        self.register_buffer("bias", torch.rand(4))

    def forward(self, x):
        return F.conv2d(x, self.filters, self.bias, groups=4) / self.filters.sum()


LAYERS = {
    "buffers": Blur,
    "standardized weights": lambda: Standardized(4, 6, 3, padding=1),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3)),
    "weight norm of a linear layer": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 6, 3)),
    "transposed weight": lambda: Own(lambda x, w: F.linear(x, w.T * 2), 6, 5),
    "weight as kernel": lambda: Own(lambda x, w: F.conv2d(x, w[..., None, None], w[:, 0] + 1), 5, 4),
    "line": lambda: Lines(nn.Conv1d(4, 6, 3, stride=2, padding=1)),
    "grouped line without bias": lambda: Lines(nn.Conv1d(4, 8, 5, dilation=2, groups=4, bias=False)),
    "line of equal length": lambda: Lines(nn.Conv1d(4, 6, 4, padding="same")),
    "line with weight norm": lambda: Lines(nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3))),
    "map of equal size": lambda: nn.Conv2d(4, 6, 3, padding="same"),
    "map of equal size, odd padding": lambda: even_padding(1),
    "map of equal size, odd padding, depthwise": lambda: even_padding(4),
    "valid pixels": lambda: nn.Conv2d(4, 6, 3, stride=2, padding="valid"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_a_site_with_fixed_weight(name):
    model = LAYERS[name]().eval().double()
    graph_module = trace(model, torch.zeros(2, 4, 6, 6, dtype=torch.float64))
    (site,) = find_sites(graph_module)
    assert isinstance(site_weight(graph_module, site), nn.Parameter)
    assert isinstance(site_bias(graph_module, site), nn.Parameter | None)
    assert find_unquantized_products(graph_module, [site]) == []
    x = torch.randn(5, 4, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(graph_module(x), model(x))
    graph_module.graph.lint()
    assert all(node.target is not aten.batch_norm.default for node in graph_module.graph.nodes)


def test_weight_that_depends_on_the_input_is_not_folded():
    graph_module = trace(Own(lambda x, w: F.linear(x, w * x.mean()), 5, 6), torch.zeros(2, 4, 6, 6))
    assert fold_computed_weights(graph_module) == 0
    assert find_sites(graph_module) == []
    (product,) = find_unquantized_products(graph_module, [])
    assert product.reason == "its weight or bias is computed from the input"


def test_norms_of_weights_are_no_norms_of_the_network():
    description = describe(nn.Sequential(Standardized(3, 4, 3), nn.BatchNorm2d(4)), torch.zeros(2, 3, 8, 8))
    assert description["norms"] == {"batch_norm": 1, "batch_norm_folded": 1}


# Layers of networks whose weights are standardized, or whose padding is a word: each is a module, and nothing else multiplies.
@pytest.mark.parametrize("name", ["nf_resnet26", "convmixer_768_32"])
def test_all_layers_of_a_network_are_sites(name):
    model = timm.create_model(name, num_classes=4, exportable=True)
    description = describe(model, torch.zeros(2, 3, 64, 64))
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sorted(site["name"] for site in description["sites"]) == sorted(layers)
    assert description["unquantized_products"] == []
