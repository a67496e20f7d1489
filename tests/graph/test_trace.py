import pytest
import torch
from torch import nn

from qhyvit.graph.trace import module_path, trace


class InPlace(nn.Module):
    """Changes a tensor in place and reads it before and after."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        y = self.layer(x)
        before = y * 2
        torch.relu_(y)
        return self.dropout(before + y)


def test_in_place_operators_become_functional_with_the_same_result():
    model, x = InPlace().eval(), torch.randn(3, 4)
    graph_module = trace(model, x)
    names = [str(node.target) for node in graph_module.graph.nodes]
    assert "aten.relu.default" in names
    assert not any("relu_." in name or "dropout" in name for name in names)
    other_batch = torch.randn(7, 4)
    torch.testing.assert_close(graph_module(other_batch), model(other_batch))


def test_nodes_know_their_module():
    graph_module = trace(InPlace(), torch.randn(3, 4))
    paths = [module_path(node) for node in graph_module.graph.nodes if "linear" in str(node.target)]
    assert paths == ["layer"]


class AliasedView(nn.Module):
    """A view taken before the change sees the change, which a functional graph cannot express by reordering reads."""

    def forward(self, x):
        y = x * 1
        view = y.view(-1)
        torch.relu_(y)
        return view + 1


def test_a_graph_that_computes_something_else_is_refused():
    with pytest.raises(ValueError, match="differs from the model"):
        trace(AliasedView(), torch.tensor([-1.0, -2.0]))
