"""Tensor sites: the tensors beyond the operands of products that full quantization rounds, found by what their nodes compute.

Quantizing convolutions, linear layers and matrix products leaves in floating point what flows between them through memory: the results
of softmax, of norms that folding left, of activation functions and of residual additions (FQ-ViT, arXiv 2111.13824;
Q-HyViT, arXiv 2303.12557, Table III). Two kinds of these have no tensor site. A tensor that only sites read is rounded already, by the
quantizers of their operands, which a method may choose to suit it: so it is with the softmax before the product with the values. And a
tensor that no site comes after belongs to the network's result, which stays what the last layers compute.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.graph.nodes import module_path, rearranges, shape_of
from qhyvit.graph.operators import ACTIVATIONS, ADD, NORMS, SOFTMAX, aten
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.walks import ancestors, follow, readers, visit

Kind = Literal["softmax", "norm", "activation", "add"]


@dataclass(frozen=True)
class OutputSite:
    """The result of one node; ``axis`` is that of its channels, None for a softmax."""

    name: str
    kind: Kind
    node: Node
    axis: int | None


def find_output_sites(graph_module: GraphModule) -> list[OutputSite]:
    """All tensor sites in the order of execution, of a graph with its BatchNorms folded and no quantizers yet."""
    sites = find_sites(graph_module)
    products = {site.node for site in sites}
    before_sites = ancestors(products)
    axes = _layer_axes(graph_module, sites)
    seen = Counter(site.name for site in sites)
    found = []
    for node in graph_module.graph.nodes:
        kind = _kind(node)
        if kind and node in before_sites and not products.issuperset(readers(node, rearranges)):
            name = ".".join(filter(None, (module_path(node), kind)))
            seen[name] += 1
            name += str(seen[name]) if seen[name] > 1 else ""
            found.append(OutputSite(name, kind, node, None if kind == "softmax" else _channel_axis(node, axes)))
    return found


def before_norm(tensor: OutputSite) -> bool:
    """Whether a norm reads the tensor."""
    return any(reader.target in NORMS for reader in readers(tensor.node, rearranges))


def source_of(site: Site, operand: str) -> Node:
    """The node that computed the elements of an activation operand, however they were arranged anew on the way."""
    node = site.operand_nodes[site.operands.index(operand)]
    return follow(node, lambda node: rearranges(node) and len(node.all_input_nodes) == 1)


def _kind(node: Node) -> Kind | None:
    if node.target is SOFTMAX:
        return "softmax"
    if node.target in NORMS:
        return "norm"
    if node.target in ACTIVATIONS:
        return "activation"
    return "add" if node.target is ADD and _adds_alike(*node.args[:2]) else None


def _adds_alike(left: object, right: object) -> bool:
    """Whether both addends are computed and of one shape, as on the two ways of a residual connection; a bias or a table is neither."""
    if not isinstance(left, Node) or not isinstance(right, Node) or "get_attr" in (left.op, right.op):
        return False
    return shape_of(left) == shape_of(right)


def _layer_axes(graph_module: GraphModule, sites: list[Site]) -> dict[Node, int | None]:
    """The channel axis, before and after, of every layer and norm; a matrix product has none."""
    axes = {site.node: None if site.kind == "matmul" else site.axis("input") for site in sites}
    for node in graph_module.graph.nodes:
        if node.target in NORMS:
            axes[node] = -len(node.args[1]) if node.target is aten.layer_norm.default else 1
    return axes


def _channel_axis(node: Node, layer_axes: dict[Node, int | None]) -> int:
    """The channel axis of the nearest layer or norm with only elementwise operators between, which keep the axes; failing that the last."""

    def neighbours(other: Node) -> list[Node]:
        return [near for near in (*other.all_input_nodes, *other.users) if _keeps_axes(near, node)]

    nearest = visit([node], lambda other: other not in layer_axes, neighbours)
    return next((axis for other in nearest if (axis := layer_axes.get(other)) is not None), -1)


def _keeps_axes(other: Node, node: Node) -> bool:
    value = other.meta.get("val")
    return other.op == "call_function" and isinstance(value, Tensor) and value.ndim == node.meta["val"].ndim and not rearranges(other)
