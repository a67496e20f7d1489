"""Products of a graph that are no sites and so stay in floating point, with the reason and their share of the work."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from qhyvit.graph.flops import count_macs
from qhyvit.graph.nodes import module_path
from qhyvit.graph.operators import SITE_KINDS, UNQUANTIZED_PRODUCTS
from qhyvit.graph.sites import Site, is_of_maps

NAMED = 5  # products in a sentence


@dataclass(frozen=True)
class UnquantizedProduct:
    """A product that is no site; ``name`` is the path of its module, or the name of its node in the model itself.

    ``macs`` are its multiply-accumulates per image, 0 where PyTorch cannot count them, and ``share`` is their part of the network's.
    """

    name: str
    operator: str
    reason: str
    macs: int
    share: float


def find_unquantized_products(graph_module: GraphModule, sites: Iterable[Site]) -> list[UnquantizedProduct]:
    """Find all products that are no ``sites``, and all operators that are not PyTorch's own, in the order of execution.

    The graph is run once if there are any, to count their multiply-accumulates.
    """
    members = {site.node for site in sites}
    found = [(node, reason) for node in graph_module.graph.nodes if node not in members and (reason := _reason(node))]
    macs = count_macs(graph_module) if found else {}
    total = max(1, sum(macs.values()))
    return [
        UnquantizedProduct(module_path(node) or node.name, str(node.target), reason, macs.get(node, 0), round(macs.get(node, 0) / total, 6))
        for node, reason in found
    ]


def share_of(products: Collection[UnquantizedProduct]) -> float:
    """Return the part of the network's multiply-accumulates that the ``products`` are, from 0 to 1."""
    return round(sum(product.share for product in products), 6)


def unquantized_sentence(products: Collection[UnquantizedProduct]) -> str:
    """Say in one sentence how many products are not quantized, their share of the multiply-accumulates, and which they are."""
    if not products:
        return "All products have quantizers."
    names = list(dict.fromkeys(product.name for product in products))
    others = len(names) - NAMED
    listed = ", ".join(names[:NAMED]) + (f" and {others} others" if others > 0 else "")
    count = "1 product" if len(products) == 1 else f"{len(products)} products"
    be = "is" if len(products) == 1 else "are"
    return f"{count}, {100 * share_of(products):.3g} % of the multiply-accumulates, {be} not quantized: {listed}."


def _reason(node: Node) -> str | None:
    packet = getattr(node.target, "overloadpacket", None)
    if SITE_KINDS.get(node.target) == "conv" and not is_of_maps(node):
        return "its input has no axis of images"
    if packet in UNQUANTIZED_PRODUCTS:
        return UNQUANTIZED_PRODUCTS[packet]
    is_foreign = node.op == "call_function" and getattr(node.target, "namespace", "aten") != "aten"
    return "it is no operator of ATen, and may hold products" if is_foreign else None
