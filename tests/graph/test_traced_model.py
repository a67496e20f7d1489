import pytest
import torch
from torch import nn

from qhyvit.errors import InputError
from qhyvit.graph.trace import trace
from qhyvit.graph.traced_model import TracedModel, move_graph


class WithConstant(nn.Module):
    """Adds a tensor that is neither parameter nor buffer, as EfficientFormer's cached attention biases."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 1)
        self.inner.constant = torch.randn(4, 1, 1)

    def forward(self, x):
        return self.inner(x) + self.inner.constant


def test_graph_moves_with_its_constants():
    graph_module = trace(WithConstant(), torch.randn(2, 3, 4, 4))
    move_graph(graph_module, "meta")  # refuses tensors of other devices, as a GPU does
    assert graph_module(torch.zeros(2, 3, 4, 4, device="meta")).device.type == "meta"


class Squeezed(nn.Module):
    """Loses the axis of images where there is one image."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 10, 4)

    def forward(self, x):
        return self.layer(x).squeeze()


def test_model_that_loses_the_axis_of_images_is_refused():
    message = (
        r"^Squeezed: returns \[10\] for one image, not \[1, 10\]; keep the axis of images, as flatten\(1\) and squeeze\(\(2, 3\)\) do$"
    )
    with pytest.raises(InputError, match=message):
        TracedModel.from_module(Squeezed(), torch.zeros(2, 3, 4, 4))
