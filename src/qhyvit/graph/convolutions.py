"""Write convolutions as those in two dimensions with numbers of padding pixels, which are sites."""

from typing import Any

from torch.fx import GraphModule, Node

from qhyvit.graph.computed_weights import add_parameter
from qhyvit.graph.nodes import add_call, arguments_of, shape_of, tensor_of
from qhyvit.graph.operators import CONVOLUTIONS_1D, aten


def rewrite_convolutions(graph_module: GraphModule) -> None:
    """Replace convolutions whose padding is a word, and those in one dimension with fixed weights, by convolutions in two; in place."""
    for node in list(graph_module.graph.nodes):
        if node.target is aten.conv2d.padding:
            _rewrite(graph_module, node)
        elif node.target in CONVOLUTIONS_1D and node.args[1].op == "get_attr" and len(shape_of(node)) == 3:
            _widen(graph_module, node)
            _rewrite(graph_module, node)
    graph_module.graph.eliminate_dead_code()


def _widen(graph_module: GraphModule, node: Node) -> None:
    """Turn a convolution [B, C, L] into one of images [B, C, 1, L]."""
    given = arguments_of(node)
    weight = tensor_of(graph_module, given["weight"])
    assert weight is not None
    with graph_module.graph.inserting_before(node):
        image = add_call(graph_module, node, aten.unsqueeze.default, given["input"], -2)
    with graph_module.graph.inserting_after(node):
        line = graph_module.graph.call_function(aten.squeeze.dim, (node, -2))
    line.meta["val"], line.meta["nn_module_stack"] = node.meta["val"], node.meta.get("nn_module_stack")
    node.replace_all_uses_with(line, delete_user_cb=lambda user: user is not line)
    node.meta["val"] = node.meta["val"].unsqueeze(-2)
    kernel = add_parameter(graph_module, node, f"{node.name}_weight_of_image", weight.unsqueeze(-2))
    padding = given["padding"]
    node.args = (
        image,
        kernel,
        given["bias"],
        [1, *_list(given["stride"], 1)],
        padding if isinstance(padding, str) else [0, *_list(padding, 1)],
        [1, *_list(given["dilation"], 1)],
        given["groups"],
    )
    node.target = aten.conv2d.padding if isinstance(padding, str) else aten.conv2d.default


def _rewrite(graph_module: GraphModule, node: Node) -> None:
    """Give a convolution in two dimensions numbers of padding pixels; odd ones are padded before, on the right and below."""
    if node.target is not aten.conv2d.padding:
        return
    given = arguments_of(node)
    stride, dilation = (_list(given[name], 2) for name in ("stride", "dilation"))
    spans = [step * (size - 1) for step, size in zip(dilation, shape_of(given["weight"])[2:], strict=True)]
    totals = spans if given["padding"] == "same" else [0, 0]
    image: Node = given["input"]
    if any(total % 2 for total in totals):
        below, right = (total % 2 for total in totals)
        batch, channels, height, width = image.meta["val"].shape
        padded = image.meta["val"].new_empty(batch, channels, height + below, width + right)  # the operator would fix the batch size
        with graph_module.graph.inserting_before(node):
            image = add_call(graph_module, node, aten.pad.default, image, [0, right, 0, below], value=padded)
    node.args = (image, given["weight"], given["bias"], stride, [total // 2 for total in totals], dilation, given["groups"])
    node.target = aten.conv2d.default


def _list(value: Any, count: int) -> list[int]:
    sizes = [value] if isinstance(value, int) else list(value)
    return sizes * count if len(sizes) < count else sizes
