"""Sites of small networks: their names, and their class, which decides which quantizers an engine executes."""

import pytest
import torch
from torch import nn

import qhyvit
from qhyvit.graph.traced_model import TracedModel

CONVOLUTIONS = {
    "dense_conv": nn.Conv2d(8, 16, 3),
    "grouped_conv": nn.Conv2d(8, 16, 3, groups=2),
    "depthwise_conv": nn.Conv2d(8, 8, 3, groups=8),
    "depthwise_multiplier_conv": nn.Conv2d(8, 16, 3, groups=8),
}


@pytest.mark.parametrize("site_class", CONVOLUTIONS)
def test_class_follows_channels_per_group(site_class):
    model = TracedModel.from_module(nn.Sequential(CONVOLUTIONS[site_class]).eval(), torch.zeros(2, 8, 4, 4))
    (site,) = model.sites
    assert site.site_class == site_class
    assert site.depthwise == site_class.startswith("depthwise")


class Repeated(nn.Module):
    """Layers called twice, others whose names are those of the first with a number, and layers that are in no module."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv2, self.linear = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 3)
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        x = self.conv2(self.conv(self.conv(x).relu()).relu()).mean((2, 3))
        for _ in range(2):
            x = nn.functional.linear(x, self.weight).relu()
        return self.linear(x)


def test_names_of_sites_are_usable_and_all_different():
    quantized = qhyvit.quantize(Repeated(), torch.randn(4, 3, 4, 4), method="minmax")
    assert [*quantized.quantizers] == ["conv", "conv3", "conv2", "linear2", "linear_1", "linear"]


class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu2, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 3)
        self.activation2 = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        for _ in range(2):
            x = x + x.relu()
        return self.head(self.activation2(x).mean((2, 3)))


def test_names_of_output_sites_are_those_of_no_site():
    model = TracedModel.from_module(Activations().eval(), torch.zeros(2, 3, 4, 4))
    assert [site.name for site in model.output_sites] == ["activation", "add", "activation3"]
