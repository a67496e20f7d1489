import torch
from torch import nn

from qhyvit.graph.trace import trace
from qhyvit.graph.traced_model import move_graph


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
