"""Messages of errors."""

import pytest
import torch
from torch.fx import Graph, GraphModule

from qhyvit.errors import InputError


def refuse(_):
    raise InputError("weights: too large; give others")


def test_error_inside_a_traced_graph_stays_one_line():
    graph = Graph()
    graph.output(graph.call_function(refuse, (graph.placeholder("x"),)))
    with pytest.raises(InputError) as raised:
        torch.fx.Interpreter(GraphModule(torch.nn.Module(), graph)).run(torch.zeros(1))
    assert len(raised.value.args[0].splitlines()) > 1
    assert str(raised.value) == "weights: too large; give others"
