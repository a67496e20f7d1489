"""Tensor sites: the tensors beyond the operands of products that full quantization rounds, found by what their nodes compute.

Quantizing convolutions, linear layers and matrix products leaves in floating point what flows between them through memory: the results
of softmax, of norms that folding left, of activation functions and of residual additions (FQ-ViT, arXiv 2111.13824;
Q-HyViT, arXiv 2303.12557, Table III). Two kinds of these have no tensor site. A tensor that only sites read is rounded already, by the
quantizers of their operands, which a method may choose to suit it: so it is with the softmax before the product with the values. And a
tensor that no site comes after belongs to the network's result, which stays what the last layers compute.
"""

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.graph.describe import NORMS
from qhyvit.graph.layout import moves_data, shape_of
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.trace import module_path

aten = torch.ops.aten
Kind = Literal["softmax", "norm", "activation", "add"]
ACTIVATIONS = {
    aten.gelu.default,
    aten.hardsigmoid.default,
    aten.hardswish.default,
    aten.hardtanh.default,
    aten.relu.default,
    aten.relu6.default,
    aten.sigmoid.default,
    aten.silu.default,
    aten.tanh.default,
}
_REARRANGEMENTS = {aten.cat.default, aten.pad.default, aten.reshape_as.default, operator.getitem}  # beside those of layouts


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
    before_sites = _ancestors(graph_module, products)
    axes = _layer_axes(graph_module, sites)
    seen = Counter(site.name for site in sites)
    found = []
    for node in graph_module.graph.nodes:
        kind = _kind(node)
        if kind and node in before_sites and not products.issuperset(_readers(node)):
            name = ".".join(filter(None, (module_path(node), kind)))
            seen[name] += 1
            name += str(seen[name]) if seen[name] > 1 else ""
            found.append(OutputSite(name, kind, node, None if kind == "softmax" else _channel_axis(node, axes)))
    return found


def before_norm(tensor: OutputSite) -> bool:
    """Whether a norm reads the tensor."""
    return any(reader.target in NORMS for reader in _readers(tensor.node))


def source_of(site: Site, operand: str) -> Node:
    """The node that computed the elements of an activation operand, however they were arranged anew on the way."""
    node = site.node.args[site.operands.index(operand)]
    while isinstance(node, Node) and _rearranges(node) and len(node.all_input_nodes) == 1:
        (node,) = node.all_input_nodes
    assert isinstance(node, Node)
    return node


def _kind(node: Node) -> Kind | None:
    if node.target is aten.softmax.int:
        return "softmax"
    if node.target in NORMS:
        return "norm"
    if node.target in ACTIVATIONS:
        return "activation"
    return "add" if node.target is aten.add.Tensor and _adds_alike(*node.args[:2]) else None


def _adds_alike(left: object, right: object) -> bool:
    """Whether both addends are computed and of one shape, as on the two ways of a residual connection; a bias or a table is neither."""
    if not isinstance(left, Node) or not isinstance(right, Node) or "get_attr" in (left.op, right.op):
        return False
    return shape_of(left) == shape_of(right)


def _ancestors(graph_module: GraphModule, nodes: set[Node]) -> set[Node]:
    ancestors: set[Node] = set()
    for node in reversed(graph_module.graph.nodes):
        if any(user in nodes or user in ancestors for user in node.users):
            ancestors.add(node)
    return ancestors


def _readers(node: Node) -> Iterator[Node]:
    """What computes with the tensor's elements, however they were arranged anew on the way: rounding is the same before and after."""
    for user in node.users:
        if _rearranges(user):
            yield from _readers(user)
        else:
            yield user


def _rearranges(node: Node) -> bool:
    return node.target in _REARRANGEMENTS or moves_data(node)


def _layer_axes(graph_module: GraphModule, sites: list[Site]) -> dict[Node, int | None]:
    """The channel axis, before and after, of every layer and norm; a matrix product has none."""
    axes = {site.node: None if site.kind == "matmul" else site.axis("input") for site in sites}
    for node in graph_module.graph.nodes:
        if node.target in NORMS:
            axes[node] = -len(node.args[1]) if node.target is aten.layer_norm.default else 1
    return axes


def _channel_axis(node: Node, layer_axes: dict[Node, int | None]) -> int:
    """The channel axis of the nearest layer or norm with only elementwise operators between, which keep the axes; failing that the last."""
    waiting, seen = [node], {node}
    for current in waiting:
        axis = layer_axes.get(current)
        if axis is not None:
            return axis
        if current not in layer_axes:
            neighbours = [other for other in (*current.all_input_nodes, *current.users) if other not in seen and _keeps_axes(other, node)]
            waiting += neighbours
            seen.update(neighbours)
    return -1


def _keeps_axes(other: Node, node: Node) -> bool:
    value = other.meta.get("val")
    return other.op == "call_function" and isinstance(value, Tensor) and value.ndim == node.meta["val"].ndim and not _rearranges(other)
