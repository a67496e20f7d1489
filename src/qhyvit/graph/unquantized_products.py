"""Products of a graph that are no sites and so stay in floating point, with the reason."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from qhyvit.graph.nodes import module_path
from qhyvit.graph.operators import SITE_KINDS, UNQUANTIZED_PRODUCTS
from qhyvit.graph.sites import Site


@dataclass(frozen=True)
class UnquantizedProduct:
    """A product that is no site; ``name`` is the path of its module, or the name of its node in the model itself."""

    name: str
    operator: str
    reason: str


def find_unquantized_products(graph_module: GraphModule, sites: Iterable[Site]) -> list[UnquantizedProduct]:
    """Find all products that are no ``sites``, and all operators that are not PyTorch's own, in the order of execution."""
    members = {site.node for site in sites}
    return [
        UnquantizedProduct(module_path(node) or node.name, str(node.target), reason)
        for node in graph_module.graph.nodes
        if node not in members and (reason := _reason(node))
    ]


def _reason(node: Node) -> str | None:
    if node.target in SITE_KINDS:
        return "its weight is computed in the graph, not a parameter"
    packet = getattr(node.target, "overloadpacket", None)
    if packet in UNQUANTIZED_PRODUCTS:
        return UNQUANTIZED_PRODUCTS[packet]
    is_foreign = node.op == "call_function" and getattr(node.target, "namespace", "aten") != "aten"
    return "it is no operator of ATen, and may hold products" if is_foreign else None
