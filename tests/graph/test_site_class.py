"""The class of a site decides which quantizers an engine executes."""

import pytest
import torch
from torch import nn

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
