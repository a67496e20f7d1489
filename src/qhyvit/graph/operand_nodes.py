"""Give each operand of a bridge block's sites a node of its own, where its fake-quantized value can be kept and replaced."""

from typing import Any

from torch.fx import Graph, GraphModule, Node

from qhyvit.graph.bridge_subgraph import Block


def with_operand_nodes(block: Block) -> tuple[GraphModule, dict[tuple[str, str], Node]]:
    """Return a copy of a block's graph, with a node between each operand and its site, and these nodes by site and operand.

    The nodes pass their input on unchanged. The site of an operand is the only reader of its node.
    """
    graph, copies = Graph(), dict[Node, Node]()
    graph.output(graph.graph_copy(block.graph_module.graph, copies))
    operands = {}
    for site in block.sites:
        reader = copies[site.node]
        for position, operand in enumerate(site.operands):
            source = reader.args[position]
            assert isinstance(source, Node)
            with graph.inserting_before(reader):
                node = graph.call_function(_unchanged, (source,))
            node.meta.update(source.meta)
            reader.update_arg(position, node)
            operands[site.name, operand] = node
    return GraphModule(block.graph_module, graph), operands


def _unchanged(value: Any) -> Any:
    return value
