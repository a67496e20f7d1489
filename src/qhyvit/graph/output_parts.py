"""Find the parts of a linear layer's output that attention reads separately: queries, keys and values of one layer."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.graph.moves import move
from qhyvit.graph.nodes import moves_data, shape_of
from qhyvit.graph.operators import MATMULS, SCALINGS
from qhyvit.graph.sites import Site


def output_parts(graph_module: GraphModule, site: Site) -> Tensor | None:
    """Return the number of the part that each output channel of a linear layer belongs to [O], int64.

    A part consists of the channels that the same operands of matrix products read, moved or multiplied by a constant on the way. None if a
    channel is read by no product, or if all channels are read by the same ones.
    """
    if site.kind != "linear":
        return None
    shape = shape_of(site.node)
    read = [_channels(values, shape[-1]) for values in _operands(graph_module, site.node, torch.arange(shape[-1]).double().expand(shape))]
    if not read or not bool(torch.stack(read).any(0).all()):
        return None
    parts = torch.stack(read, 1).unique(dim=0, return_inverse=True)[1]
    return parts if int(parts.max()) else None


def _operands(graph_module: GraphModule, start: Node, index: Tensor) -> list[Tensor]:
    """Return the indices that reach each operand of a matrix product from ``index`` in the place of the values of ``start``."""
    values: dict[Node, Any] = {start: index}
    reached = []
    for node in graph_module.graph.nodes:
        source = node.args[0] if node.args else None
        if node.target in MATMULS:
            reached += [values[operand] for operand in node.args[:2] if operand in values]
        elif isinstance(source, Node) and source in values:
            if node.target is operator.getitem:
                values[node] = values[source][node.args[1]]
            elif moves_data(node):
                values[node] = move(graph_module, node, values[source])
            elif node.target in SCALINGS and not isinstance(node.args[1], Node):
                values[node] = values[source]
    return reached


def _channels(values: Tensor, count: int) -> Tensor:
    """Return which of ``count`` channels are among the values: booleans [count]."""
    return torch.zeros(count, dtype=torch.bool).index_fill(0, values.flatten().long().unique(), True)
