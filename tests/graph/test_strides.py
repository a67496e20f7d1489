"""Views after operators whose results have other strides in the graph than in the module."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.operators import aten
from qhyvit.graph.trace import trace

ATTENTIONS = {  # of tokens [B, N, D] in two heads, to [B, heads, N, D / heads]
    "fused": lambda x: F.scaled_dot_product_attention(x, x, x),
    "fused, changed in place": lambda x: F.scaled_dot_product_attention(x, x, x)[:, :].mul_(2),
}


class Attended(nn.Module):
    """Joins the heads by a view, which the memory layout of fused attention allows."""

    def __init__(self, attend):
        super().__init__()
        self.layer, self.attend = nn.Linear(8, 8), attend

    def forward(self, x):
        x = self.attend(self.layer(x).unflatten(-1, (2, 4)).transpose(1, 2))
        return x.transpose(1, 2).view(x.shape[0], -1, 8)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_view_of_attention_that_is_split_becomes_a_reshape(name):
    model, x = Attended(ATTENTIONS[name]).eval(), torch.randn(3, 5, 8)
    graph_module = trace(model, torch.zeros(2, 5, 8))
    torch.testing.assert_close(graph_module(x), model(x))


def test_view_that_strides_allow_stays():
    graph_module = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Unflatten(1, (2, 2))), torch.zeros(2, 3, 4, 4))
    assert not graph_module.graph.find_nodes(op="call_function", target=aten.reshape.default)
