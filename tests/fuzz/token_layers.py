"""Layers of random modules that take tokens [N, D], without attention."""

import torch
import torch.nn.functional as F
from grammar import Function, batch_norm, divisor, layer, pick, randomized, reparametrized
from torch import nn


@layer(2)
def to_map(draw, n, d):
    forms = [
        lambda m, x: x.mT[..., None],
        lambda m, x: x.mT.unflatten(2, (-1, 2)),
        lambda m, x: x.unflatten(1, (-1, 1)).permute(0, 3, 1, 2),
    ]
    return Function(pick(draw, *forms, lambda m, x: x.unsqueeze(1).expand(-1, 2, -1, -1)))


@layer(2)
def line(draw, n, d):
    groups, padding = divisor(draw, n), pick(draw, 0, 1, "same", "valid")
    stride = 1 if padding == "same" else pick(draw, 1, 2)
    arguments = (pick(draw, 1, 2, 3), stride, padding, pick(draw, 1, 2), groups, pick(draw, True, False), pick(draw, "zeros", "circular"))
    convolution = reparametrized(draw, nn.Conv1d(n, groups * 2, *arguments))
    transposed = nn.ConvTranspose1d(n, groups * 2, 2, 2, groups=groups)
    normalized = nn.Sequential(convolution, batch_norm(draw, 2, groups * 2))
    return pick(draw, convolution, convolution, normalized, transposed)


@layer(2, keeps=True)
def token_norm(draw, n, d):
    along_features = Function(lambda m, x: m.norm(x.mT).mT, norm=batch_norm(draw, 2, d))
    flat = Function(lambda m, x: m.norm(x.flatten(0, 1)).view_as(x), norm=batch_norm(draw, 2, d))
    norms = [nn.LayerNorm(d), nn.LayerNorm(d, elementwise_affine=False), nn.RMSNorm(d), batch_norm(draw, 2, n), nn.GroupNorm(1, n)]
    return randomized(pick(draw, *norms, along_features, flat))


@layer(2, 1)
def parameter_product(draw, *shape):
    d = shape[-1]
    forms = {
        "right": lambda m, x: x @ m.weight,
        "scaled, transposed": lambda m, x: F.linear(x, m.weight.mT * 2, m.weight[0]),
        "addmm": lambda m, x: torch.addmm(m.weight[0], x.reshape(-1, x.shape[-1]), m.weight).view_as(x),
        "einsum": lambda m, x: torch.einsum("...c,cd->...d", x, m.weight),
        "tensordot": lambda m, x: torch.tensordot(x, m.weight, dims=([-1], [0])),
        "weight of the input": lambda m, x: F.linear(x, m.weight * x.mean()),
        "standardized weight": lambda m, x: F.linear(x, F.normalize(m.weight - m.weight.mean(), dim=1)),
        "vector": lambda m, x: x * (x @ m.weight[0])[..., None],
        "bias of the input": lambda m, x: F.linear(x, m.weight, x.flatten(0, -2).mean(0)),
        "tokens first": lambda m, x: (x.transpose(0, 1) @ m.weight).transpose(0, 1) if x.ndim > 2 else x @ m.weight,
        "inner": lambda m, x: torch.inner(x, m.weight),
        "left": lambda m, x: (m.weight @ x.mT).mT if x.ndim > 2 else (m.weight @ x[..., None])[..., 0],
    }
    form = pick(draw, *forms)
    return Function(forms[form], weight=nn.Parameter(torch.randn(d, d)), form=form)


@layer(2, 1, keeps=True)
def tied_linears(draw, *shape):
    first, second = nn.Linear(shape[-1], shape[-1]), nn.Linear(shape[-1], shape[-1], bias=pick(draw, True, False))
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


@layer(3, 2, 1)
def linear(draw, *shape):
    return reparametrized(draw, nn.Linear(shape[-1], pick(draw, 2, 4, 6), bias=pick(draw, True, False)))


@layer(2, keeps=True)
def multihead_attention(draw, n, d):
    heads, first, kind = divisor(draw, d), pick(draw, True, False), pick(draw, "none", "float", "bool")
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    mask = nn.Buffer({"none": torch.empty(0), "float": torch.zeros(n, n).masked_fill(hidden, float("-inf")), "bool": hidden}[kind])
    needs = pick(draw, True, False)
    attend = nn.MultiheadAttention(d, heads, bias=pick(draw, True, False), add_bias_kv=pick(draw, True, False), batch_first=first)

    def forward(m, x):
        x = x if first else x.transpose(0, 1)
        y = m.attend(x, x, x, need_weights=needs, attn_mask=None if kind == "none" or m.attend.bias_k is not None else m.mask)[0]
        return y if first else y.transpose(0, 1)

    return Function(forward, attend=attend, mask=mask, first=first, needs=needs, kind=kind)


@layer(2, keeps=True)
def encoder(draw, n, d):
    return nn.TransformerEncoderLayer(
        d, divisor(draw, d), 6, activation=pick(draw, "relu", "gelu"), batch_first=True, norm_first=pick(draw, True, False)
    )


@layer(2, keeps=True)
def recurrent(draw, n, d):
    return Function(lambda m, x: m.layer(x)[0], layer=pick(draw, nn.GRU, nn.LSTM, nn.RNN)(d, d, batch_first=True))
