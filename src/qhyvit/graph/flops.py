"""Count the multiply-accumulates of each node of a graph as PyTorch counts them."""

import warnings
from typing import Any

import torch
from torch.fx import GraphModule, Interpreter, Node
from torch.utils.flop_counter import FlopCounterMode

from qhyvit.graph.nodes import is_batched, shape_of, tensor_of


def count_macs(graph_module: GraphModule) -> dict[Node, int]:
    """Return the multiply-accumulates per image of each node that has some, by running the graph on black images of the traced size.

    A node that is computed once for all images counts in full, as it does for a single image.
    Operators that `torch.utils.flop_counter` does not know, such as those of other libraries, count as none.
    """
    (placeholder,) = graph_module.graph.find_nodes(op="placeholder")
    shape, value = shape_of(placeholder), placeholder.meta["val"]
    counted = _Counter(graph_module)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about its own switches
        with torch.backends.mkldnn.flags(enabled=False):  # its recurrent layers are one operator, of unknown count
            counted.run(torch.zeros(shape, dtype=value.dtype, device=_device(graph_module)))
    return {node: flops // 2 // (shape[0] if _is_per_image(node) else 1) for node, flops in counted.flops.items()}


class _Counter(Interpreter):
    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__(graph_module)
        self.flops: dict[Node, int] = {}

    def run_node(self, n: Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            value = super().run_node(n)
        if flops := counter.get_total_flops():
            self.flops[n] = flops
        return value


def _is_per_image(node: Node) -> bool:
    return any(is_batched(other) for other in (node, *node.all_input_nodes))


def _device(graph_module: GraphModule) -> torch.device:
    tensors = (tensor_of(graph_module, node) for node in graph_module.graph.find_nodes(op="get_attr"))
    return next((tensor.device for tensor in tensors if tensor is not None), torch.device("cpu"))
