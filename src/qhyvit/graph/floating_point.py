"""Find what stays in floating point in mode full: results that are neither output sites nor operands of products."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.graph.floating_point_kinds import Kind
from qhyvit.graph.nodes import module_path, rearranges
from qhyvit.graph.operators import ADD, MATMULS, REDUCTIONS, SCALINGS, SOFTMAX, aten
from qhyvit.graph.output_sites import find_output_sites, leads_to_softmax
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import ancestors, constants, readers

SUMS = (REDUCTIONS - {aten.amax.default, aten.amin.default}) | {ADD, aten.sub.Tensor}


@dataclass(frozen=True)
class FloatingPointResult:
    """A result that stays in floating point; ``name`` is the path of its module, or the name of its node in the model itself."""

    name: str
    operator: str
    kind: Kind


def find_floating_point(graph_module: GraphModule, sites: Sequence[Site]) -> list[FloatingPointResult]:
    """List all results that mode full leaves in floating point, in the order of execution.

    A result that only sites read is quantized as their operand. Those of operators that only move data are not listed again.
    """
    nodes = floating_point_nodes(graph_module, sites)
    return [FloatingPointResult(module_path(node) or node.name, str(node.target), kind) for node, kind in nodes]


def floating_point_nodes(graph_module: GraphModule, sites: Sequence[Site]) -> Iterator[tuple[Node, Kind]]:
    """Find the nodes of these results, each with its kind."""
    products = {site.node for site in sites}
    quantized, before_sites = {site.node for site in find_output_sites(graph_module)}, ancestors(products)
    fixed = constants(graph_module.graph)
    for node in graph_module.graph.nodes:
        value = node.meta.get("val")
        computed = node.op == "call_function" and isinstance(value, Tensor) and value.is_floating_point() and node not in fixed
        if computed and not rearranges(node) and node not in quantized and not products.issuperset(readers(node, rearranges)):
            yield node, _kind(node, products) if node in before_sites else "network"


def _kind(node: Node, products: set[Node]) -> Kind:
    if node.target in MATMULS and any(reader.target is SOFTMAX for reader in readers(node, leads_to_softmax)):
        return "logits"
    if node in products:
        return "layer"
    if node.target in SCALINGS:
        return "product"
    return "sum" if node.target in SUMS else "other"
