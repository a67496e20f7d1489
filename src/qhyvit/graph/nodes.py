"""Properties of single nodes of a traced graph."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import Argument, map_arg
from torch.utils._pytree import tree_leaves

from qhyvit.graph.operators import COPYING_MOVES, JOINS


def tensor_of(graph_module: GraphModule, node: object) -> Tensor | None:
    """Return the parameter or buffer that a get_attr node stands for; None for an absent optional argument."""
    if node is None:
        return None
    assert isinstance(node, Node)
    owner, _, name = str(node.target).rpartition(".")
    tensor = getattr(graph_module.get_submodule(owner), name)
    assert isinstance(tensor, Tensor)
    return tensor


def shape_of(node: Node) -> tuple[int, ...]:
    """Return the shape of the node's tensor for the batch on which the graph was traced."""
    return tuple(traced_size(size) for size in node.meta["val"].shape)


def traced_size(size: Any) -> int:
    """Return the value that a size, symbolic or not, had in the trace."""
    return int(size if isinstance(size, int) else size.node.hint)


def module_path(node: Node) -> str:
    """Return the dotted path of the innermost module that the node came from."""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    return str(paths[-1]) if paths else ""


def arguments_of(node: Node) -> dict[str, Any]:
    """Return the arguments of an ATen operator by name, defaults included."""
    parameters = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((parameter.name for parameter in parameters), node.args, strict=False)) | dict(node.kwargs)
    return {parameter.name: given.get(parameter.name, parameter.default_value) for parameter in parameters}


def moves_data(node: Node) -> bool:
    """Tell if the output holds the values of the first input in another order, which constants determine.

    Operators on complex numbers do not count: many take or return no others.
    """
    others = (leaf for leaf in tree_leaves(node.args[1:]) if isinstance(leaf, Node) and leaf.op == "call_function")
    if any(isinstance(other.meta["val"], Tensor) for other in others) or is_complex([node, *node.all_input_nodes[:1]]):
        return False
    schema: Any = getattr(node.target, "_schema", None)
    is_view = schema and schema.returns[0].alias_info and not {"dtype", "stride"} & {argument.name for argument in schema.arguments}
    return bool(is_view) or node.target in COPYING_MOVES


def is_complex(nodes: Iterable[Node]) -> bool:
    """Tell if any of the nodes' tensors is complex."""
    values = (value for node in nodes for value in tree_leaves(node.meta.get("val")))
    return any(isinstance(value, Tensor) and value.is_complex() for value in values)


def rearranges(node: Node) -> bool:
    """Tell if the output holds values of the inputs, moved, joined or padded, and computes nothing."""
    return node.target in JOINS or moves_data(node)


def is_batched(node: Node) -> bool:
    """Tell if the node's tensor, or number, grows with the batch; a node without a traced value does not."""
    value = node.meta.get("val", 0)
    sizes = value.shape if isinstance(value, Tensor) else [value]
    return not all(isinstance(size, int) for size in sizes)


def batch_axis(node: Node) -> int:
    """Return the axis along which the node's tensor grows with the batch: the first of dynamic size, 0 if none is."""
    sizes = node.meta["val"].shape
    return next((axis for axis, size in enumerate(sizes) if not isinstance(size, int)), 0)


def add_call(graph_module: GraphModule, replaced: Node, target: Any, *arguments: Argument, value: Tensor | None = None) -> Node:
    """Add a call of an ATen operator at the place where the graph inserts, as a part of the module that ``replaced`` came from.

    Its traced ``value``, if not given, is computed from those of its arguments.
    """
    node = graph_module.graph.create_node("call_function", target, arguments, name=target.overloadpacket.__name__)
    node.meta["nn_module_stack"] = replaced.meta.get("nn_module_stack")
    node.meta["val"] = target(*map_arg(arguments, lambda argument: argument.meta["val"])) if value is None else value
    return node
