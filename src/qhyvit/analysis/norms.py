"""Find the norms of a network and the layers that they belong to: the third challenge of Q-HyViT (arXiv 2303.12557, Section III)."""

from dataclasses import dataclass

import pandas as pd
from torch.fx import GraphModule, Node

from qhyvit.graph.nodes import module_path
from qhyvit.graph.operators import NORMS
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.walks import users_of, visit


@dataclass(frozen=True)
class Norm:
    """Norm and the ``layers`` that it belongs to: the one whose output it normalizes, or else the first ones that read it."""

    type: str
    node: Node
    layers: frozenset[Node]


def find_norms(graph_module: GraphModule) -> list[Norm]:
    """Find all norms, in the order of execution, of a graph whose BatchNorms are not folded yet."""
    layers = {site.node for site in find_sites(graph_module)}
    return [Norm(NORMS[node.target], node, _layers(node, layers)) for node in graph_module.graph.nodes if node.target in NORMS]


def norm_table(norms: list[Norm], graph_module: GraphModule, bridge: set[Site]) -> pd.DataFrame:
    """Tabulate per norm its type, module path, whether it is folded in ``graph_module``, and whether it belongs to a ``bridge`` site."""
    kept = set(graph_module.graph.nodes)
    members = {site.node for site in bridge}
    rows = [(norm.type, module_path(norm.node), norm.node not in kept, bool(norm.layers & members)) for norm in norms]
    return pd.DataFrame(rows, columns=["type", "norm", "folded", "bridge"])


def _layers(norm: Node, layers: set[Node]) -> frozenset[Node]:
    return frozenset(layers & {norm.all_input_nodes[0]}) or _readers(norm, layers)


def _readers(norm: Node, layers: set[Node]) -> frozenset[Node]:
    """Return the layers that the norm's result reaches without another one on the way."""
    return frozenset(layers.intersection(visit(norm.users, lambda node: node not in layers, users_of)))
