"""Layers of random modules that take any input: changes in place, activations, and combinations of layers."""

import torch
import torch.nn.functional as F
from grammar import Function, batch_norm, keeping, layer, pick
from torch import nn

CHANGES = {}


def change(function):
    return CHANGES.setdefault(function.__name__, function)


@change
def index_assigned(x):
    x = x * 1
    x[:, 0] = 0
    x[..., -1:] = x[..., :1].sin()
    return x


@change
def slice_scaled(x):
    x[..., ::2] *= 2
    return x.relu_()


@change
def view_changed(x):
    x = x.clone()
    x.flatten(1).mul_(2).add_(1)
    return x


@change
def changed_under_a_view(x):
    view = x[:, :1]
    before = view * 2
    x.clamp_(min=-0.5).add_(x.mean())
    return x + view - before


@change
def half_changed(x):
    first, second = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
    first.sigmoid_()
    second += 1
    return torch.cat([second, first], 1) + x


@change
def filled(x):
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    y.copy_(y + x).masked_fill_(x < 0, 0.5)
    return y


@change
def boolean_assigned(x):
    x = x.clone()
    x[x < 0] = 0.1
    return x


@change
def transposed_in_place(x):
    x = x * 2
    x.transpose_(1, -1)
    return x.transpose(1, -1).relu_()


@change
def scattered(x):
    return x.clone().index_add_(1, torch.tensor([0, 0]), x[:, :1].expand(-1, 2, *x.shape[2:]))


@change
def in_double(x):
    return (x.double().sin() @ x.double().mT if x.ndim > 2 else x.double() * 2).float()


@change
def product_with_itself(x):
    return x @ x.mT if x.ndim > 2 else torch.einsum("bi,bj->bij", x, x)


@change
def turned(x):
    frequencies = torch.fft.fft(x, dim=1)
    return torch.view_as_real(frequencies + frequencies.abs()).sum(-1) - frequencies.imag


@change
def scaled_by_the_greatest(x):
    return x * x.flatten(1).amax(1).view(-1, *[1] * (x.ndim - 1)) + torch.linspace(0, 1, 4).amax()


@change
def with_class_token(x):
    return torch.cat([torch.zeros_like(x[:, :1]), x], 1)


@change
def meshed(x):
    return x + torch.linspace(-1, 1, x.shape[-1]).sin() * torch.arange(x.shape[1]).view(-1, *[1] * (x.ndim - 2)).float()


@change
def statistics_joined(x):
    return torch.stack([x.amax(1), x.mean(1)], 1) if x.ndim > 2 else torch.cat([x.cumsum(1), x.softmax(1)], 1)


@layer(3, 2, 1)
def changed(draw, *shape):
    name = pick(draw, *CHANGES)
    before = pick(draw, nn.Identity(), nn.Linear(shape[-1], shape[-1]))
    return Function(lambda m, x: CHANGES[name](m.before(x)), before=before, change=name)


@layer(3, 2, 1, keeps=True)
def activation(draw, *shape):
    kinds = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.ELU, nn.LeakyReLU)
    plain = (
        nn.GELU(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Softplus(),
        nn.Softmax(-1),
        nn.PReLU(),
        nn.Dropout(0.3),
        nn.AlphaDropout(0.3),
        nn.Identity(),
    )
    return pick(draw, *plain, *(kind(inplace=inplace) for kind in kinds for inplace in (True, False)))


@layer(3, 2, 1, keeps=True)
def vector_or_double(draw, *shape):
    if len(shape) == 1:
        return pick(draw, batch_norm(draw, 1, shape[0]), nn.Sequential(nn.Linear(shape[0], shape[0]), batch_norm(draw, 1, shape[0])))
    return Function(lambda m, x: m.layer(x.double()).float(), layer=nn.Linear(shape[-1], shape[-1]).double())


@layer(3, 2, 1)
def combined(draw, *shape):
    first, second = keeping(draw, shape), keeping(draw, shape)
    forms = {
        "residual": lambda m, x: x + m.first(x.clone()),
        "residual in place": lambda m, x: m.first(x.clone()).add_(x),
        "scaled residual": lambda m, x: torch.add(x, m.first(x.clone()), alpha=0.5),
        "joined": lambda m, x: torch.cat([m.first(x.clone()), x, m.second(x.clone())], 1),
        "gated": lambda m, x: m.first(x.clone()) * m.second(x.clone()).sigmoid(),
        "detached": lambda m, x: m.first(x.clone()) + m.second(x.clone()).detach(),
        "chosen by the greatest": lambda m, x: (
            m.first(x.clone()) * F.one_hot(m.second(x.clone()).flatten(1).argmax(1) % 2, 2).float().mean()
        ),
        "repeated": lambda m, x: m.first(m.first(x.clone()).clone()),
        "unused": lambda m, x: (m.second(x.clone()), m.first(x.clone()))[1],
        "multiplied": lambda m, x: m.first(x.clone()) @ m.second(x.clone()).mT if x.ndim > 2 else m.first(x.clone()) - x,
    }
    form = pick(draw, *forms)
    return Function(forms[form], first=first, second=second, form=form)


@layer(3, 2)
def to_vector(draw, *shape):
    forms = [
        lambda m, x: x.flatten(1),
        lambda m, x: x[:, 0].flatten(1),
        lambda m, x: x.flatten(2).mean(-1),
        lambda m, x: x.flatten(2).amax(1),
    ]
    return Function(pick(draw, *forms))


@layer(1)
def from_vector(draw, d):
    return Function(
        pick(draw, lambda m, x: x[:, :, None, None], lambda m, x: x.unflatten(1, (2, -1)), lambda m, x: torch.einsum("bi,bj->bij", x, x))
    )
