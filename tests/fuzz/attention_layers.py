"""Attention between tokens [N, D] in the forms that networks have it in."""

import torch
import torch.nn.functional as F
from grammar import Function, divisor, layer, pick
from torch import nn


def heads_first(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


SPLITS = {  # of a layer's output [B, N, 3 D] into queries, keys and values [B, heads, N, D / heads]
    "chunk": lambda x, heads: [heads_first(part, heads) for part in x.chunk(3, -1)],
    "split": lambda x, heads: heads_first(x, heads).split(x.shape[-1] // 3 // heads, -1) if heads == 1 else SPLITS["chunk"](x, heads),
    "unbind": lambda x, heads: x.reshape(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0),
    "index": lambda x, heads: (lambda y: (y[0], y[1], y[2]))(x.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)),
    "slices": lambda x, heads: [heads_first(x[..., i * x.shape[-1] // 3 : (i + 1) * x.shape[-1] // 3], heads) for i in range(3)],
    "one tensor": lambda x, heads: [heads_first(x[..., : x.shape[-1] // 3], heads)] * 3,
}
HIDDEN = {  # functions of the scores [B, heads, N, N] and a mask [N, N]
    "none": lambda scores, mask: scores,
    "added": lambda scores, mask: scores + mask,
    "added for each image": lambda scores, mask: scores + mask.expand_as(scores),
    "filled": lambda scores, mask: scores.masked_fill(mask < 0, float("-inf")),
    "filled in place": lambda scores, mask: scores.masked_fill_(mask < 0, -1e9),
    "chosen": lambda scores, mask: torch.where(mask < 0, torch.finfo(scores.dtype).min, scores),
}
PRODUCTS = {  # of queries, keys, values and a mask to [B, heads, N, D / heads]
    "matmul": lambda q, k, v, mask, hide: hide(q @ k.mT * 0.5, mask).softmax(-1) @ v,
    "matmul, heads first": lambda q, k, v, mask, hide: (
        hide(q.transpose(0, 1) @ k.transpose(0, 1).mT, mask).softmax(-1) @ v.transpose(0, 1)
    ).transpose(0, 1),
    "einsum": lambda q, k, v, mask, hide: torch.einsum("bhij,bhjd->bhid", hide(torch.einsum("bhid,bhjd->bhij", q, k), mask).softmax(-1), v),
    "linear": lambda q, k, v, mask, hide: q.relu() @ (k.relu().mT @ v),
    "bmm": lambda q, k, v, mask, hide: torch.bmm(
        torch.bmm(q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2)).softmax(-1), v.flatten(0, 1)
    ).view_as(v),
    "baddbmm": lambda q, k, v, mask, hide: torch.baddbmm(
        v.flatten(0, 1),
        torch.baddbmm(mask.clamp(min=-9)[None], q.flatten(0, 1), k.flatten(0, 1).mT, alpha=0.5).softmax(-1),
        v.flatten(0, 1),
        beta=0.5,
    ).view_as(v),
    "fused": lambda q, k, v, mask, hide: F.scaled_dot_product_attention(q, k, v, scale=0.3),
    "fused, causal": lambda q, k, v, mask, hide: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "fused, mask": lambda q, k, v, mask, hide: F.scaled_dot_product_attention(q, k, v, mask),
    "fused, boolean mask": lambda q, k, v, mask, hide: F.scaled_dot_product_attention(q, k, v, mask > -1, dropout_p=0.0),
    "fused, groups": lambda q, k, v, mask, hide: F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True),
}


@layer(2, keeps=True)
def attention(draw, n, d):
    heads, split, product, hidden = divisor(draw, d), pick(draw, *SPLITS), pick(draw, *PRODUCTS), pick(draw, *HIDDEN)
    mask = nn.Buffer(torch.zeros(n, n).masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), float("-inf")))

    def forward(m, x):
        q, k, v = SPLITS[split](m.qkv(x), heads)
        return PRODUCTS[product](q, k, v, m.mask, HIDDEN[hidden]).transpose(1, 2).flatten(2)

    qkv = nn.Linear(d, 3 * d, bias=pick(draw, True, False))
    return Function(forward, qkv=qkv, mask=mask, heads=heads, split=split, product=product, hidden=hidden)
