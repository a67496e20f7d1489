import pytest
import torch
from torch import nn

from qhyvit.analysis.challenges import activation_table, channel_table, network_summary
from qhyvit.analysis.norms import find_norms, norm_table
from qhyvit.calibration.capture import capture
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class Residual(nn.Module):
    """A convolution, 4 -> 4 of 36 MACs a pixel, and a linear layer with 16 MACs a pixel in a residual branch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=4)
        self.linear = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        x = self.conv(x).permute(0, 2, 3, 1)
        return (x + self.linear(x)).mean((1, 2))


@pytest.fixture
def measured():
    """Graph, sites and statistics of `Residual` on one image with channels of width 1, 2, 4 and 10, two of them on one side of 0."""
    model = Residual()
    nn.init.constant_(model.conv.weight, 0.0)
    model.conv.weight.data[:, :, 1, 1] = 1.0  # what the linear layer reads is the image
    image = torch.linspace(0, 1, 16).view(1, 1, 4, 4) * torch.tensor([1.0, 2.0, 4.0, 10.0]).view(1, 4, 1, 1)
    image = image + torch.tensor([2.0, -1.0, -5.0, -5.0]).view(1, 4, 1, 1)
    graph_module = trace(model, torch.zeros(2, 4, 4, 4))
    sites = find_sites(graph_module)
    return graph_module, sites, capture(graph_module, sites, [image], None, 0)


def test_ranges_and_overflow_are_as_worked_by_hand(measured):
    graph_module, sites, statistics = measured
    found = activation_table(graph_module, sites, {sites[1]}, statistics)
    assert found.site.tolist() == ["conv", "linear"]
    assert found.bridge.tolist() == [False, True]
    for row in found.itertuples():
        assert (row.channels, row.low, row.high) == (4, -5, 5)
        assert (row.smallest_range, row.median_range, row.largest_range) == pytest.approx((1, 3, 10))
        assert row.ratio == pytest.approx(10 / 3)
        assert (row.overflowing_channels, row.tensor_overflows) == (2, False)  # [2, 3] and [-5, -1]
        assert row.channel_error_clipped > 100 * row.channel_error_widened > 0
        assert row.tensor_error_clipped == row.tensor_error_widened > 0


def test_channels_in_the_long_table(measured):
    _, sites, statistics = measured
    found = channel_table(sites, set(), statistics)
    assert found.columns.tolist() == ["site", "operand", "bridge", "channel", "low", "high"]
    linear = found[found.site == "linear"]
    assert linear.channel.tolist() == [0, 1, 2, 3]
    assert linear.low.tolist() == pytest.approx([2, -1, -5, -5])
    assert linear.high.tolist() == pytest.approx([3, 1, -1, 5])


def test_residual_shares_and_norm_counts(measured):
    graph_module, sites, _ = measured
    norms = norm_table(find_norms(graph_module), graph_module, set())
    assert network_summary(graph_module, sites, {sites[0]}, norms) == {
        "norms": {},
        "sites": 2,
        "bridge_sites": 1,
        "macs": 16 * (36 + 16),
        "residual_site_share": 0.5,
        "residual_mac_share": round(16 / 52, 6),
        "unquantized_mac_share": 0,
    }
