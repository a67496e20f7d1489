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

    def __init__(self, norm):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 10, 4), norm

    def forward(self, x):
        return self.norm(self.layer(x).squeeze())


class ForBatches(nn.Module):
    def forward(self, x):
        if x.dim() == 1:
            raise NotImplementedError
        return x


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (nn.Identity(), r"for one image it returns \[10\], not \[1, 10\]"),
        (ForBatches(), r"runs on two images, but not on one \(NotImplementedError\)"),
        (nn.BatchNorm1d(10), r"runs on two images, but not on one \(expected 2D or 3D input \(got 1D input\)\)"),
    ],
)
def test_model_that_loses_the_axis_of_images_is_refused(norm, said):
    with pytest.raises(InputError, match=rf"^Squeezed: {said}; use flatten\(1\) or squeeze\(\(2, 3\)\) in place of squeeze\(\)"):
        TracedModel.from_module(Squeezed(norm), torch.zeros(2, 3, 4, 4))
