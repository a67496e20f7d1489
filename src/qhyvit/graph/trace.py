"""A model as one flat graph of ATen operators: torch.export, then only functional operators and none without effect."""

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qhyvit.graph.operators import IDENTITIES_IN_EVAL, aten


def trace(model: nn.Module, example: Tensor) -> GraphModule:
    """Trace ``model`` in eval mode on ``example`` [B, 3, H, W], B > 1; the graph takes any batch size and keeps each node's module path.

    Raises ValueError when the graph does not compute what the model computes.
    """
    model.eval()
    with torch.no_grad():
        expected = model(example)  # before the export, for models that set up their buffers in the first run
    batch = torch.export.Dim("batch")
    graph_module = torch.export.export(model, (example,), dynamic_shapes=({0: batch},)).module()
    assert isinstance(graph_module, GraphModule)
    _inline_autocast(graph_module)
    for node in list(graph_module.graph.nodes):
        if node.op == "call_module" or node.target is aten._assert_tensor_metadata.default:  # guards on shapes and types
            graph_module.graph.erase_node(node)
        elif node.target in IDENTITIES_IN_EVAL:
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)
        elif node.op == "call_function" and str(node.target).partition(".")[0] == "aten" and _is_in_place(node):
            _make_functional(node)
    graph_module.graph.lint()
    graph_module.recompile()
    with torch.no_grad():
        got = graph_module(example)
    if not torch.allclose(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())):
        raise ValueError(f"the traced graph differs from the model by {float((got - expected).abs().max()):.3g}")
    return graph_module.requires_grad_(False)


def _inline_autocast(graph_module: GraphModule) -> None:
    """Put the operators under each ``torch.autocast``, which export keeps in a graph of their own, where that graph is called.

    In them autocast is as outside: nothing changes where it was switched off, and the comparison with the model refuses the rest.
    """
    graph = graph_module.graph
    for call in graph.find_nodes(op="call_function", target=torch.ops.higher_order.wrap_with_autocast):
        name, *operands = call.args[4:]
        body = graph_module.get_submodule(name.target)
        assert isinstance(body, GraphModule)
        _inline_autocast(body)
        with graph.inserting_before(call):
            outputs = graph.graph_copy(body.graph, dict(zip(body.graph.find_nodes(op="placeholder"), operands, strict=True)))
        for item in list(call.users):
            item.replace_all_uses_with(outputs[item.args[1]])  # type: ignore[index]
            graph.erase_node(item)
        graph.erase_node(call)
        graph.erase_node(name)


def _is_in_place(node: Node) -> bool:
    return bool(node.target._schema.is_mutable)  # type: ignore[union-attr]


def _make_functional(node: Node) -> None:
    """Compute into a new tensor; what read the changed input afterwards reads the result instead."""
    packet, _, overload = str(node.target).removeprefix("aten.").partition(".")
    changed = node.args[0]
    assert isinstance(changed, Node)
    node.target = getattr(getattr(aten, packet.removesuffix("_")), overload)
    order = {other: position for position, other in enumerate(node.graph.nodes)}
    changed.replace_all_uses_with(node, delete_user_cb=lambda user: order[user] > order[node])
