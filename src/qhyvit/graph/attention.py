"""Replace fused attention by the operators that it computes, so that both of its products can be sites."""

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import Argument

from qhyvit.graph.nodes import add_call, arguments_of, shape_of
from qhyvit.graph.operators import SOFTMAX, aten


def split_attention(graph_module: GraphModule) -> None:
    """Replace each scaled_dot_product_attention by softmax(scale * query @ key^T + mask) @ value, in place.

    Its dropout is left out, as everywhere in eval mode. A row of the mask that hides every key gives NaN, where PyTorch gives 0.
    """
    for node in graph_module.graph.find_nodes(op="call_function", target=aten.scaled_dot_product_attention.default):
        with graph_module.graph.inserting_before(node):
            node.replace_all_uses_with(_attend(graph_module, node, **arguments_of(node)))
        graph_module.graph.erase_node(node)


def _attend(
    graph_module: GraphModule,
    fused: Node,
    *,
    query: Node,
    key: Node,
    value: Node,
    attn_mask: Node | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    dropout_p: float,
) -> Node:
    def call(target: Any, *arguments: Argument) -> Node:
        return add_call(graph_module, fused, target, *arguments)

    if enable_gqa:
        key, value = (call(aten.repeat_interleave.self_int, node, _heads(query) // _heads(node), -3) for node in (key, value))
    scaled = call(aten.mul.Tensor, query, shape_of(query)[-1] ** -0.5 if scale is None else scale)
    scores = call(aten.matmul.default, scaled, call(aten.transpose.int, key, -2, -1))
    if is_causal:
        attn_mask = _causal_mask(graph_module, fused, shape_of(scores)[-2:])
    if attn_mask is not None and attn_mask.meta["val"].dtype == torch.bool:
        scores = call(aten.masked_fill.Scalar, scores, call(aten.logical_not.default, attn_mask), float("-inf"))
    elif attn_mask is not None:
        scores = call(aten.add.Tensor, scores, attn_mask)
    return call(aten.matmul.default, call(SOFTMAX, scores, -1), value)


def _heads(node: Node) -> int:
    return shape_of(node)[-3]


def _causal_mask(graph_module: GraphModule, fused: Node, shape: tuple[int, ...]) -> Node:
    name = f"{fused.name}_causal_mask"
    graph_module.register_buffer(name, torch.ones(shape, dtype=torch.bool).tril())
    node = graph_module.graph.get_attr(name)
    node.meta["val"] = fused.meta["val"].new_ones(shape, dtype=torch.bool)
    return node
