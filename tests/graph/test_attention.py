"""Split attention against a loop over images, heads and queries in float64."""

from math import exp, sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.operators import aten
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace

HEADS, KEY_HEADS, QUERIES, KEYS, WIDTH = 4, 2, 3, 5, 6
VISIBLE = torch.rand(QUERIES, KEYS, generator=torch.Generator().manual_seed(0)) < 0.6
VISIBLE[:, 0] = True
BIAS = torch.randn(HEADS, QUERIES, KEYS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
NO_BIAS = torch.zeros(HEADS, QUERIES, KEYS, dtype=torch.float64)
CASES = {  # settings, the same as a bias of the scores, and their scale
    "plain": ({}, NO_BIAS, 1 / sqrt(WIDTH)),
    "scaled": ({"scale": 0.3}, NO_BIAS, 0.3),
    "causal": ({"is_causal": True}, NO_BIAS.masked_fill(torch.ones(QUERIES, KEYS).triu(1).bool(), -float("inf")), 1 / sqrt(WIDTH)),
    "boolean mask": ({"attn_mask": VISIBLE}, NO_BIAS.masked_fill(~VISIBLE, -float("inf")), 1 / sqrt(WIDTH)),
    "float mask": ({"attn_mask": BIAS}, BIAS, 1 / sqrt(WIDTH)),
}


class Fused(nn.Module):
    """Attention between slices of its input [B, heads, queries + keys + keys, width]."""

    def __init__(self, key_heads, settings):
        super().__init__()
        self.key_heads, self.settings = key_heads, settings

    def forward(self, x):
        query, key, value = x.split([QUERIES, KEYS, KEYS], 2)
        key, value = key[:, : self.key_heads], value[:, : self.key_heads]
        return F.scaled_dot_product_attention(query, key, value, **self.settings)


def naive_attention(x, key_heads, bias, scale):
    query, key, value = x.split([QUERIES, KEYS, KEYS], 2)
    output = torch.zeros_like(query)
    for image in range(len(x)):
        for head in range(HEADS):
            group = head * key_heads // HEADS
            for row in range(QUERIES):
                scores = [
                    scale * float(query[image, head, row] @ key[image, group, column]) + float(bias[head, row, column])
                    for column in range(KEYS)
                ]
                total = sum(exp(score) for score in scores)
                for column, score in enumerate(scores):
                    output[image, head, row] += exp(score) / total * value[image, group, column]
    return output


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("key_heads", [HEADS, KEY_HEADS])
def test_split_attention_equals_a_loop(case, key_heads):
    settings, bias, scale = CASES[case]
    model = Fused(key_heads, settings | {"enable_gqa": key_heads < HEADS})
    x = torch.randn(3, HEADS, QUERIES + 2 * KEYS, WIDTH, dtype=torch.float64)
    graph_module = trace(model, x[:2])
    assert [site.kind for site in find_sites(graph_module)] == ["matmul", "matmul"]
    torch.testing.assert_close(graph_module(x), naive_attention(x, key_heads, bias, scale))


def test_softmax_of_fused_attention_is_between_its_products():
    graph_module = trace(Fused(HEADS, {}), torch.randn(2, HEADS, QUERIES + 2 * KEYS, WIDTH))
    first, second = (site.node for site in find_sites(graph_module))
    (softmax,) = first.users
    assert softmax.target is aten.softmax.int
    assert second.args[0] is softmax


class SelfAttention(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


MODULES = {
    "attention": (lambda: SelfAttention(False), ["attention", "attention.matmul1", "attention.matmul2", "attention2"]),
    "attention with weights": (lambda: SelfAttention(True), ["attention", "attention.matmul1", "attention.matmul2", "attention2"]),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        ["self_attn", "self_attn.matmul1", "self_attn.matmul2", "self_attn2", "linear1", "linear2"],
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_products_of_pytorch_attention_modules_are_sites(name):
    build, sites = MODULES[name]
    model, x = build(), torch.randn(3, 5, 8)
    graph_module = trace(model, x)
    assert [site.name for site in find_sites(graph_module)] == sites
    torch.testing.assert_close(graph_module(x), model(x))
