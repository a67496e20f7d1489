"""Registry of the layers that random modules consist of, and what these share."""

from collections import defaultdict

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

LAYERS = defaultdict(list)  # by the number of axes, the functions that draw a layer for an input of a shape
KEEPING = defaultdict(list)  # those whose output has the shape of their input


class Function(nn.Module):
    """A function of the input and of parts, which are modules, parameters and settings."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        self.settings = {name: part for name, part in parts.items() if not isinstance(part, nn.Module | torch.Tensor)}
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)

    def extra_repr(self):
        return f"{self.function.__qualname__.removesuffix('.<locals>.<lambda>')} {self.settings or ''}"


def output_shape(layer, shape):
    """The shape of a layer's output without the batch; None if it cannot run, or is too large or of another number of axes."""
    try:
        with torch.no_grad():
            output = layer.eval()(torch.randn(2, *shape))
    except (RuntimeError, ValueError):
        return None
    fits = 2 <= output.ndim <= 4 and len(output) == 2 and 0 < output[0].numel() <= 2000 and output.isfinite().all()
    return tuple(output.shape[1:]) if fits else None


def layer(*axes, keeps=False):
    def register(function):
        for count in axes:
            LAYERS[count].append(function)
            if keeps:
                KEEPING[count].append(function)
        return function

    return register


def pick(draw, *values):
    return draw(st.sampled_from(values))


def divisor(draw, count):
    return pick(draw, *(number for number in range(1, count + 1) if count % number == 0))


def keeping(draw, shape):
    """A layer that keeps the shape, or nothing where the drawn one does not."""
    inner = pick(draw, *KEEPING[len(shape)])(draw, *shape)
    return inner if output_shape(inner, shape) == shape else nn.Identity()


def randomized(norm):
    """The norm with random parameters and statistics."""
    for name, value in [*norm.named_parameters(), *norm.named_buffers()]:
        if value.is_floating_point():
            (nn.init.uniform_ if "var" in name else nn.init.normal_)(value, 0.5, 2.0 if "var" in name else 0.5)
    return norm


def reparametrized(draw, module):
    """The layer, its weight as it is or computed from other parameters."""
    wrap = pick(draw, None, None, None, parametrizations.weight_norm, parametrizations.spectral_norm)
    return wrap(module) if wrap else module


def batch_norm(draw, axes, channels):
    kind = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}[axes]
    return randomized(kind(channels, affine=pick(draw, True, False), track_running_stats=axes == 1 or pick(draw, True, True, False)))
