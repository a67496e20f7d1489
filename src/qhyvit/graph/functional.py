"""Replace operators that change a tensor in place by functional ones."""

import operator
from collections.abc import Iterator

from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from qhyvit.graph.operators import aten

NATIVE_BATCH_NORM = aten._native_batch_norm_legit_no_training.default


def make_functional(graph_module: GraphModule) -> None:
    """Let each operator compute into a new tensor, which later readers of the changed input read instead; views of it are not followed."""
    for node in list(graph_module.graph.nodes):
        if _is_in_place(node):
            _compute_into_new(node)


def without_changed_views(program: ExportedProgram) -> ExportedProgram:
    """Return ``program``, or one in which PyTorch follows all changes in place.

    That is where a tensor is read by another view than the changed one, and where an operator has no functional form of its own name.
    PyTorch's graph has other operators for the same network, so it is asked only where it is needed.
    """
    has_no_form = any(_is_in_place(node) and _functional_form(node) is None for node in program.graph.nodes)
    return program.run_decompositions({}) if has_no_form or any(_changed_views(program.graph)) else program


def restore_operators(graph_module: GraphModule) -> None:
    """Replace the forms of batch norm and of copies that PyTorch's functional graphs have by the usual ones."""
    graph = graph_module.graph
    for node in graph.find_nodes(op="call_function", target=aten.clone.default):
        node.target = aten.contiguous.default  # the same, where nothing changes in place
    for node in graph.find_nodes(op="call_function", target=NATIVE_BATCH_NORM):
        *parameters, momentum, epsilon = node.args
        (result,) = node.users  # the others are statistics, which only training returns
        result.target, result.args = aten.batch_norm.default, (*parameters, False, momentum, epsilon, False)
        result.meta["nn_module_stack"] = node.meta.get("nn_module_stack")
        graph.erase_node(node)


def _compute_into_new(node: Node) -> None:
    changed, form = node.args[0], _functional_form(node)
    assert isinstance(changed, Node)
    assert form is not None
    node.target = form
    order = _order(node.graph)
    changed.replace_all_uses_with(node, delete_user_cb=lambda user: order[user] > order[node])


def _functional_form(node: Node) -> OpOverload | None:
    """Return the operator that computes into a new tensor what that of the node, as in relu_, computes in place; None if there is none."""
    packet, _, overload = str(node.target).removeprefix("aten.").partition(".")
    return getattr(getattr(aten, packet.removesuffix("_"), None), overload, None) if packet.endswith("_") else None


def _changed_views(graph: Graph) -> Iterator[Node]:
    """Find the operators that change memory that is read again, by way of another view."""
    order, tensor, memory = _order(graph), dict[Node, Node](), dict[Node, Node]()
    for node in graph.nodes:
        source = node.args[0] if node.args and isinstance(node.args[0], Node) else node
        shares = _is_in_place(node) or _is_view(node)
        tensor[node] = tensor.get(source, source) if _is_in_place(node) else node
        memory[node] = memory.get(source, source) if shares else node
        if _is_in_place(node) and any(
            order[user] > order[node]
            for other in memory
            if memory[other] is memory[node] and tensor[other] is not tensor[node]
            for user in other.users
        ):
            yield node


def _order(graph: Graph) -> dict[Node, int]:
    return {node: position for position, node in enumerate(graph.nodes)}


def _is_in_place(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return getattr(node.target, "namespace", "") == "aten" and bool(schema.is_mutable)  # type: ignore[union-attr]


def _is_view(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.target is operator.getitem or bool(schema and schema.returns and schema.returns[0].alias_info)
