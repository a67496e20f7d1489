"""Queries, keys and values that one linear layer computes, found by the path of each channel."""

import pytest
import torch
from torch import nn

from qhyvit.graph.output_parts import output_parts
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class Attention(nn.Module):
    """An attention of two heads whose queries, keys and values ``split`` takes from one layer."""

    def __init__(self, split, outputs=18):
        super().__init__()
        self.qkv, self.split = nn.Linear(6, outputs), split

    def forward(self, x):
        q, k, v = self.split(self.qkv(x))
        return ((q * 3**-0.5 @ k.transpose(-2, -1)).softmax(-1) @ v).flatten(1)


def thirds(x):
    """Split as ViT and MobileViTv1 do: queries, keys and values one after the other."""
    return x.unflatten(2, (3, 2, 3)).permute(2, 0, 3, 1, 4).unbind(0)


def scaled(x):
    """Split as ``thirds``, with queries scaled by the operator that takes numbers alone."""
    q, k, v = thirds(x)
    return torch.ops.aten.mul.Scalar(q, 0.5), k, v


def within_heads(x):
    """Split as EfficientFormer does: in each head, with values of another width."""
    return x.unflatten(2, (2, 9)).transpose(1, 2).split([2, 2, 5], dim=3)


def shared(x):
    """Take the values from the layer, and queries and keys from the same channels."""
    q, v = x.chunk(2, dim=2)
    return q, q, v


def part_of_each_channel(split, outputs=18):
    graph_module = trace(Attention(split, outputs), torch.randn(2, 5, 6))
    site = find_sites(graph_module)[0]
    assert site.name == "qkv"
    return output_parts(graph_module, site)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (thirds, 6 * [0] + 6 * [1] + 6 * [2]),
        (scaled, 6 * [0] + 6 * [1] + 6 * [2]),
        (within_heads, 2 * (2 * [0] + 2 * [1] + 5 * [2])),
        (shared, 9 * [0] + 9 * [1]),
    ],
)
def test_channels_of_queries_keys_and_values_are_told_apart(split, expected):
    parts = part_of_each_channel(split).tolist()
    assert [parts.index(part) for part in parts] == [expected.index(part) for part in expected]
    assert set(parts) == set(expected)


@pytest.mark.parametrize(
    "split",
    [lambda x: (x, x, x), lambda x: (x[..., :6], x[..., 6:12], x[..., 12:].cos()), lambda x: (x[..., :5], x[..., 5:10], x[..., 10:15])],
    ids=["all read all", "computed", "three channels unread"],
)
def test_layer_whose_channels_are_not_all_read_apart_has_no_parts(split):
    assert part_of_each_channel(split) is None


def test_other_sites_have_no_parts():
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Flatten(2), nn.Linear(16, 4), nn.Flatten())
    graph_module = trace(network, torch.randn(2, 3, 4, 4))
    assert [output_parts(graph_module, site) for site in find_sites(graph_module)] == [None, None]
