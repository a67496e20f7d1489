"""Make parameters of the weights that a graph computes from parameters alone, and of those that are buffers.

Standardized weights, weight norm and spectral norm are computed. Fixed filters, such as blurs, are often buffers.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from qhyvit.graph.nodes import tensor_of
from qhyvit.graph.operators import LAYERS, aten
from qhyvit.graph.walks import constants


def fold_computed_weights(graph_module: GraphModule) -> int:
    """Compute the weights and biases of layers, and the parameters of BatchNorm, that depend on no input; return how many were folded.

    In place. Each becomes a parameter of its own, by which a layer is a site. So does a buffer that is a weight or bias of a layer: it can
    then be corrected and tuned.
    """
    computed = [*_computed(graph_module, constants(graph_module.graph))]
    values: dict[Node, Tensor] = {}
    for layer, position, source in computed:
        with torch.no_grad():
            value = _value(graph_module, source, values)
        layer.update_arg(position, add_parameter(graph_module, layer, f"{layer.name}_computed_{position}", value))
    graph_module.graph.eliminate_dead_code()
    return len(computed)


def add_parameter(graph_module: GraphModule, reader: Node, name: str, value: Tensor) -> Node:
    """Register a parameter of ``value`` and return a node for it before its ``reader``."""
    graph_module.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))
    with graph_module.graph.inserting_before(reader):
        node = graph_module.graph.get_attr(name)
    node.meta["val"] = value.detach()
    return node


def _computed(graph_module: GraphModule, fixed: set[Node]) -> Iterator[tuple[Node, int, Node]]:
    """Find the layers with their arguments, by position, that are computed from parameters or are buffers."""
    for node in graph_module.graph.nodes:
        last = 5 if node.target is aten.batch_norm.default else 3 if node.target in LAYERS else 0
        for position, argument in enumerate(node.args[:last]):
            if position and argument in fixed and node not in fixed and _is_computed(graph_module, node, argument):
                yield node, position, argument


def _is_computed(graph_module: GraphModule, reader: Node, argument: Node) -> bool:
    """Tell if a fixed argument is computed, or is a buffer that a layer reads. The statistics of a BatchNorm stay buffers."""
    is_buffer = argument.op == "get_attr" and not isinstance(tensor_of(graph_module, argument), nn.Parameter)
    return argument.op == "call_function" or (is_buffer and reader.target in LAYERS)


def _value(graph_module: GraphModule, node: Node, values: dict[Node, Tensor]) -> Tensor:
    """Return the value of a node that depends on no input, and keep it in ``values``."""
    if node not in values:
        if node.op == "get_attr":
            found = tensor_of(graph_module, node)
            assert found is not None
            values[node] = found
        else:
            arguments, keywords = map_arg((node.args, node.kwargs), lambda source: _value(graph_module, source, values))
            values[node] = node.target(*arguments, **keywords)  # type: ignore[operator]
    return values[node]
