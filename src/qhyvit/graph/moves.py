"""Run operators that only move data on indices in the place of their data, to see where each element goes."""

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from qhyvit.graph.nodes import tensor_of, traced_size
from qhyvit.graph.operators import STRIDED_VIEWS, aten


def move(graph_module: GraphModule, node: Node, index: Tensor) -> Any:
    """Return what the operator of ``node``, which `moves_data`, makes of ``index`` in the place of its first input."""

    def resolve(source: Node) -> Any:
        return tensor_of(graph_module, source) if source.op == "get_attr" else traced_size(source.meta["val"])

    target: Any = aten.reshape.default if node.target in STRIDED_VIEWS else node.target
    _, *constants = node.args
    return target(index, *map_arg(constants, resolve), **map_arg(dict(node.kwargs), resolve))
