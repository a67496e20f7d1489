"""Find output sites: the tensors, next to the operands of products, that full quantization fake-quantizes.

Partial quantization keeps in floating point the tensors between convolutions, linear layers and matrix products: the results of softmax,
of norms that are not folded, of activation functions and of residual additions (FQ-ViT, arXiv 2111.13824; Q-HyViT, arXiv 2303.12557,
Table III). Two kinds of these have no output site. A tensor that only sites read is quantized already, by the quantizers of their
operands, which a method may choose to suit it, such as the softmax before the product with the values. A tensor that no site depends on
belongs to the network's result, which stays in floating point. Sums that mask the logits of an attention are no residual additions.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.graph.nodes import is_complex, module_path, rearranges, shape_of, tensor_of
from qhyvit.graph.operators import ACTIVATIONS, ADD, NORMS, SCALINGS, SOFTMAX, aten
from qhyvit.graph.sites import Site, find_sites, numbered
from qhyvit.graph.walks import ancestors, follow, readers, visit

Kind = Literal["softmax", "norm", "activation", "add"]

SMALLEST_MASK = 1e3
MASK_MAKERS = SCALINGS | {
    ADD,
    aten.expand_as.default,
    aten.full_like.default,
    aten.masked_fill.Scalar,
    aten.neg.default,
    aten.rsub.Scalar,
    aten.sub.Tensor,
    aten.to.dtype,
    aten.where.Scalar,
    aten.where.ScalarOther,
    aten.where.ScalarSelf,
    aten.where.self,
}


@dataclass(frozen=True)
class OutputSite:
    """Result of one node; ``axis`` is its channel axis, None for a softmax."""

    name: str
    kind: Kind
    node: Node
    axis: int | None


def find_output_sites(graph_module: GraphModule) -> list[OutputSite]:
    """Find all output sites, in the order of execution, of a graph with folded BatchNorms and without quantizers."""
    sites = find_sites(graph_module)
    products = {site.node for site in sites}
    before_sites = ancestors(products)
    axes = _layer_axes(graph_module, sites)
    taken = {site.name for site in sites}
    output_sites = []
    for node in graph_module.graph.nodes:
        kind = _kind(graph_module, node)
        if kind and node in before_sites and not products.issuperset(readers(node, rearranges)):
            name = ".".join(filter(None, (module_path(node), kind)))
            name = numbered(name, taken, 2) if name in taken else name
            taken.add(name)
            output_sites.append(OutputSite(name, kind, node, None if kind == "softmax" else _channel_axis(node, axes)))
    return output_sites


def before_norm(site: OutputSite) -> bool:
    """Tell if a norm reads the tensor."""
    return any(reader.target in NORMS for reader in readers(site.node, rearranges))


def source_of(site: Site, operand: str) -> Node:
    """Return the node that computed the elements of an activation operand, before any rearrangement."""
    node = site.operand_nodes[site.operands.index(operand)]
    return follow(node, lambda node: rearranges(node) and len(node.all_input_nodes) == 1)


def _kind(graph_module: GraphModule, node: Node) -> Kind | None:
    if node.target is SOFTMAX:
        return "softmax"
    if node.target in NORMS:
        return "norm"
    if node.target in ACTIVATIONS:
        return "activation"
    if node.target is not ADD or not _adds_alike(*node.args[:2]):
        return None
    masked = any(_is_mask(graph_module, addend) for addend in node.all_input_nodes)
    return None if masked or _is_of_logits(node) else "add"


def leads_to_softmax(node: Node) -> bool:
    """Tell if a softmax of what the node computes is one of its input, moved, scaled or with something added."""
    return rearranges(node) or node.target in SCALINGS | {ADD}


def _is_of_logits(node: Node) -> bool:
    """Tell if all that reads the sum is a softmax: it adds a mask, which may be infinite, or a bias to the logits of an attention."""
    targets = {reader.target for reader in readers(node, leads_to_softmax)}
    return targets == {SOFTMAX}


def _is_mask(graph_module: GraphModule, addend: Node) -> bool:
    """Tell if the addend has a number of a mask in it, which is far below all logits and would take their whole grid."""
    sources = visit([addend], lambda node: rearranges(node) or node.target in MASK_MAKERS)
    return any(_largest(graph_module, node) >= SMALLEST_MASK for node in sources)


def _largest(graph_module: GraphModule, node: Node) -> float:
    """Return the largest magnitude of a constant, or of the numbers that an operator puts into a mask; 0 for others."""
    constant = tensor_of(graph_module, node) if node.op == "get_attr" else None
    if constant is not None:
        return float(constant.abs().max()) if constant.is_floating_point() and constant.numel() else 0
    numbers = [abs(argument) for argument in node.args if isinstance(argument, int | float)]
    return max(numbers, default=0) if node.target in MASK_MAKERS else 0


def _adds_alike(left: object, right: object) -> bool:
    """Tell if both addends are computed, real and of one shape, as in a residual connection, unlike a bias or a table."""
    if not isinstance(left, Node) or not isinstance(right, Node) or "get_attr" in (left.op, right.op):
        return False
    return shape_of(left) == shape_of(right) and not is_complex([left, right])


def _layer_axes(graph_module: GraphModule, sites: list[Site]) -> dict[Node, int | None]:
    """Return the channel axis, before and after, of every layer and norm; None for a matrix product."""
    axes = {site.node: None if site.kind == "matmul" else site.axis("input") for site in sites}
    for node in graph_module.graph.nodes:
        if node.target in NORMS:
            axes[node] = -len(node.args[1]) if node.target is aten.layer_norm.default else 1
    return axes


def _channel_axis(node: Node, layer_axes: dict[Node, int | None]) -> int:
    """Return the channel axis of the nearest layer or norm, with only operators between that keep the axes; else the last."""

    def neighbours(other: Node) -> list[Node]:
        return [near for near in (*other.all_input_nodes, *other.users) if _keeps_axes(near, node)]

    nearest = visit([node], lambda other: other not in layer_axes, neighbours)
    return next((axis for other in nearest if (axis := layer_axes.get(other)) is not None), -1)


def _keeps_axes(other: Node, node: Node) -> bool:
    value = other.meta.get("val")
    return other.op == "call_function" and isinstance(value, Tensor) and value.ndim == node.meta["val"].ndim and not rearranges(other)
