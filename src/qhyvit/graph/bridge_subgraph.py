"""Extract a bridge block as a graph of its own, to compute the error at its output for any quantizers of its sites."""

from dataclasses import dataclass

from torch.fx import Graph, GraphModule, Node

from qhyvit.graph.bridge import BridgeBlock
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import between, constants, visit


@dataclass(frozen=True)
class Block:
    """Part of a graph from the first operands of a bridge block to the output of its last site.

    ``inputs`` are the nodes of the whole graph whose values ``graph_module`` takes, in their order of execution; ``sites`` are those of the
    block, in this graph; ``output`` is the node of the whole graph that it computes.
    """

    graph_module: GraphModule
    sites: list[Site]
    inputs: list[Node]
    output: Node

    @property
    def name(self) -> str:
        """Name of its last site."""
        return self.sites[-1].name


def extract_block(graph_module: GraphModule, block: BridgeBlock) -> Block:
    """Copy the nodes that the output of the block's last site needs, back to the operands of its sites."""
    last = block.sites[-1].node
    inside = between((site.node for site in block.sites), [last])
    constant = constants(graph_module.graph)
    inputs = [node for node in graph_module.graph.nodes if node not in inside | constant and {*node.users} & inside]
    graph = Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node, copy in copies.items():
        copy.meta.update(node.meta)
    needed = visit(inside, step=lambda node: constant.intersection(node.all_input_nodes))
    for node in graph_module.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[last])
    sites = [Site(site.name, site.kind, copies[site.node], site.groups) for site in block.sites]
    return Block(GraphModule(graph_module, graph), sites, inputs, last)
