"""Replace operators that change a tensor in place by functional ones."""

import operator
from collections.abc import Iterator

from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from qhyvit.graph.nodes import add_call, shape_of
from qhyvit.graph.operators import aten
from qhyvit.graph.walks import follow

NATIVE_BATCH_NORM = aten._native_batch_norm_legit_no_training.default


def make_functional(graph_module: GraphModule) -> None:
    """Let each operator compute into a new tensor, which later readers of the changed input read instead; views of it are not followed."""
    for node in list(graph_module.graph.nodes):
        if _is_in_place(node):
            _compute_into_new(node)
    for node in graph_module.graph.find_nodes(op="call_function", target=aten.copy.default):
        _replace_copy(graph_module, node)


def without_changed_views(program: ExportedProgram) -> ExportedProgram:
    """Return ``program``, or one in which PyTorch follows all changes in place.

    That is where a tensor is read by another view than the changed one, and where an operator has no functional form of its own name.
    PyTorch's graph has other operators for the same network, so it is asked only where it is needed.
    """
    has_no_form = any(_is_in_place(node) and _functional_form(node) is None for node in program.graph.nodes)
    if not has_no_form and not any(_changed_views(program.graph)):
        return program
    _copy_changed_inputs(program.graph)
    return program.run_decompositions({})


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


def _copy_changed_inputs(graph: Graph) -> None:
    """Let the graph change a copy of its input, of which PyTorch cannot follow the changes."""
    changed = {follow(node, _shares_memory) for node in graph.nodes if _is_in_place(node)}
    for node in graph.find_nodes(op="placeholder"):
        if node in changed:
            with graph.inserting_after(node):
                copy = graph.call_function(aten.clone.default, (node,))
            copy.meta.update(node.meta)
            node.replace_all_uses_with(copy, delete_user_cb=lambda user, copy=copy: user is not copy)


def _replace_copy(graph_module: GraphModule, node: Node) -> None:
    """Read what is copied, in the shape and type of what it replaces: PyTorch has no derivative of the functional copy."""
    replaced, source = node.args[:2]
    assert isinstance(replaced, Node)
    assert isinstance(source, Node)
    with graph_module.graph.inserting_before(node):
        if shape_of(source) != shape_of(replaced):
            source = add_call(graph_module, node, aten.expand_as.default, source, replaced)
        if source.meta["val"].dtype != replaced.meta["val"].dtype:
            source = add_call(graph_module, node, aten.to.dtype, source, replaced.meta["val"].dtype)
    node.replace_all_uses_with(source)
    graph_module.graph.erase_node(node)


def _changed_views(graph: Graph) -> Iterator[Node]:
    """Find the operators that change memory that is read again, by way of another view."""
    order, tensor, memory = _order(graph), dict[Node, Node](), dict[Node, Node]()
    for node in graph.nodes:
        source = node.args[0] if node.args and isinstance(node.args[0], Node) else node
        shares = _shares_memory(node)
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


def _shares_memory(node: Node) -> bool:
    """Tell if the output is the first input or a view of it."""
    return _is_in_place(node) or _is_view(node)


def _is_view(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.target is operator.getitem or bool(schema and schema.returns and schema.returns[0].alias_info)
