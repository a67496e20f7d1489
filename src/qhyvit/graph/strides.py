"""Let views copy their input where its strides allow no view."""

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from qhyvit.graph.operators import STRIDED_VIEWS, aten


def run_with_views(graph_module: GraphModule, image: Tensor) -> Tensor:
    """Run a graph, and make a reshape of each view that its input has no strides for; in place.

    Operators that were rewritten, such as fused attention, may leave other strides than those that the module sees.
    """
    output: Tensor = _Reshaping(graph_module).run(image)
    graph_module.recompile()
    return output


def reshape_views(graph_module: GraphModule) -> None:
    """Make a reshape of every view, in place."""
    for node in graph_module.graph.nodes:
        if node.target in STRIDED_VIEWS:
            node.target = aten.reshape.default
    graph_module.recompile()


class _Reshaping(Interpreter):
    def run_node(self, n: Node) -> Any:
        try:
            return super().run_node(n)
        except RuntimeError:
            if n.target not in STRIDED_VIEWS:
                raise
            n.target = aten.reshape.default
            return super().run_node(n)
