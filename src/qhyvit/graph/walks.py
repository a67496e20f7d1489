"""Which values of a run hold for another, in which one node computes something else."""

from collections.abc import Mapping
from typing import Any

from torch.fx import Node


def independent_of(changed: Node, values: Mapping[Node, Any]) -> dict[Node, Any]:
    """Those ``values`` of a run that do not depend on the node ``changed``."""
    behind: set[Node] = set()
    for node in changed.graph.nodes:
        if node is changed or behind & {*node.all_input_nodes}:
            behind.add(node)
    return {node: value for node, value in values.items() if node not in behind}
