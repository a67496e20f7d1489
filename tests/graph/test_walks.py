"""Walks against the reachability of a random graph, found by powers of its adjacency matrix."""

from itertools import product

import pytest
import torch
from torch.fx import Graph

from qhyvit.graph.walks import ancestors, between, constants, descendants, follow, independent_of, readers, users_of, visit

SIZE = 12


@pytest.fixture
def random_graph():
    """Nodes of which each reads some earlier ones, and the matrix [from, to] of what reaches what in one step or more."""
    edges = torch.rand(SIZE, SIZE).lt(0.2).triu(1)
    edges[:, :2] = False  # the first two are a parameter and the input
    graph = Graph()
    nodes = [graph.get_attr("weight"), graph.placeholder("x")]
    for index in range(2, SIZE):
        nodes.append(graph.call_function(sum, tuple(nodes[source] for source in edges[:, index].nonzero().flatten())))
    paths = sum(torch.linalg.matrix_power(edges.double(), power) for power in range(1, SIZE))
    return nodes, paths > 0


def test_walks_agree_with_powers_of_the_adjacency_matrix(random_graph):
    nodes, reaches = random_graph
    for first, last in product(range(SIZE), repeat=2):
        start, end = nodes[first], nodes[last]
        assert (start in ancestors([end])) == (end in descendants([start])) == bool(reaches[first, last])
        inside = {
            node
            for index, node in enumerate(nodes)
            if (index == first or reaches[first, index]) and (index == last or reaches[index, last])
        }
        assert between([start], [end]) == inside


def test_constants_and_independent_values_do_not_depend_on_a_node(random_graph):
    nodes, reaches = random_graph
    assert constants(nodes[0].graph) == {node for index, node in enumerate(nodes) if index != 1 and not reaches[1, index]}
    values = {node: index for index, node in enumerate(nodes)}
    for changed in range(SIZE):
        kept = independent_of(nodes[changed], values)
        assert list(kept.values()) == [index for index in range(SIZE) if index != changed and not reaches[changed, index]]


@pytest.fixture
def ladder():
    """x -> a -> b -> d and x -> c -> d, by name."""
    graph = Graph()
    x = graph.placeholder("x")
    a = graph.call_function(abs, (x,), name="a")
    b = graph.call_function(abs, (a,), name="b")
    c = graph.call_function(abs, (x,), name="c")
    graph.call_function(max, (b, c), name="d")
    return {node.name: node for node in graph.nodes}


def names(nodes):
    return "".join(node.name for node in nodes)


def test_visit_lists_the_nearest_nodes_first(ladder):
    assert names(visit([ladder["d"]])) == "dbcax"
    assert names(visit([ladder["x"]], step=users_of)) == "xacbd"


def test_visit_ends_at_nodes_that_do_not_pass(ladder):
    assert names(visit([ladder["d"]], lambda node: node.name != "b")) == "dbcx"


def test_readers_are_found_behind_the_nodes_passed_through(ladder):
    assert names(readers(ladder["x"], lambda node: node.name in "ab")) == "cd"


def test_follow_ends_at_the_first_node_refused(ladder):
    assert follow(ladder["d"], lambda node: node.name != "a") is ladder["a"]
    assert follow(ladder["d"], lambda node: node.name in "db") is ladder["a"]
