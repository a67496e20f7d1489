"""Random modules: layers with drawn settings, by the number of axes of their input, one after another where shapes allow it.

An input without its batch is a map [C, H, W], tokens [N, D] or a vector [D].
"""

from math import prod

import attention_layers  # noqa: F401  registers its layers
import general_layers  # noqa: F401
import map_layers  # noqa: F401
import token_layers  # noqa: F401
import torch
from grammar import LAYERS, output_shape
from hypothesis import strategies as st
from torch import nn

SHAPES = [(3, 8, 8), (4, 7, 9), (4, 4, 4), (6, 1, 1), (4, 4), (5, 6), (6, 4), (1, 4), (4,), (6,)]


@st.composite
def modules(draw, shapes=SHAPES):
    """A module of one to six layers in eval mode, and the shape [C, H, W], [N, D] or [D] of its input."""
    shape = draw(st.sampled_from(shapes))
    torch.manual_seed(draw(st.integers(0, 999)))
    layers, current = nn.Sequential(), shape
    for _ in range(draw(st.integers(1, 6))):
        layer = draw(st.sampled_from(LAYERS[len(current)]))(draw, *current)
        output = output_shape(layer, current)
        if output is not None:
            layers.append(layer)
            current = output
    return layers.eval(), shape


@st.composite
def classifiers(draw):
    """A module that makes two logits of images, and the shape [C, H, W] of these."""
    module, shape = draw(modules([shape for shape in SHAPES if len(shape) == 3]))
    count = prod(output_shape(module, shape))
    return nn.Sequential(*module, nn.Flatten(), nn.Linear(count, 2)).eval(), shape
