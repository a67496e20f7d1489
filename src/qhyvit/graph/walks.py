"""Walk along the edges of a traced graph."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.fx import Graph, Node

Step = Callable[[Node], Iterable[Node]]


def inputs_of(node: Node) -> Iterable[Node]:
    """Return the nodes that ``node`` reads."""
    return node.all_input_nodes


def users_of(node: Node) -> Iterable[Node]:
    """Return the nodes that read ``node``."""
    return node.users


def visit(start: Iterable[Node], passes: Callable[[Node], bool] = lambda _: True, step: Step = inputs_of) -> dict[Node, None]:
    """Return the nodes reached from ``start``, itself included, the nearest first, where only those that pass lead further."""
    visited = dict.fromkeys(start)
    waiting = list(visited)
    for node in waiting:
        for other in step(node) if passes(node) else ():
            if other not in visited:
                visited[other] = None
                waiting.append(other)
    return visited


def ancestors(nodes: Iterable[Node]) -> set[Node]:
    """Return all that the nodes are computed from."""
    return {*visit(source for node in nodes for source in node.all_input_nodes)}


def descendants(nodes: Iterable[Node]) -> set[Node]:
    """Return all that is computed from the nodes."""
    return {*visit((user for node in nodes for user in node.users), step=users_of)}


def between(first: Iterable[Node], last: Iterable[Node]) -> set[Node]:
    """Return all nodes on the paths from the first to the last, both included."""
    return {*visit(first, step=users_of)} & {*visit(last)}


def follow(node: Node, through: Callable[[Node], bool]) -> Node:
    """Go from ``node`` to its first input, and so on, and return the first node that ``through`` refuses."""
    while through(node):
        node = node.all_input_nodes[0]
    return node


def readers(node: Node, through: Callable[[Node], bool]) -> list[Node]:
    """Return the nodes that read ``node`` directly or by way of nodes that ``through`` accepts, without the latter."""
    return [user for user in visit(node.users, through, users_of) if not through(user)]


def constants(graph: Graph) -> set[Node]:
    """Return the nodes that depend on no input of the graph: parameters, and what is computed of them alone."""
    placeholders = graph.find_nodes(op="placeholder")
    return {*graph.nodes} - {*placeholders} - descendants(placeholders)


def independent_of(changed: Node, values: Mapping[Node, Any]) -> dict[Node, Any]:
    """Return the ``values`` of a run, by node, that remain valid when ``changed`` computes something else."""
    stale = {changed} | descendants([changed])
    return {node: value for node, value in values.items() if node not in stale}
