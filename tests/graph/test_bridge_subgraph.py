import pytest
import torch
from torch.fx import Interpreter
from traced_networks import SIZE, traced_network

from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.bridge_subgraph import extract_block
from qhyvit.graph.sites import find_sites


class Recorder(Interpreter):
    """Keeps every value."""

    def run_node(self, node):
        self.values = getattr(self, "values", {})
        self.values[node] = super().run_node(node)
        return self.values[node]


@pytest.fixture(scope="module", params=["mobilevit_xxs", "mobile_former_26m", "efficientformer_l1"])
def network(request):
    """Graph, bridge blocks and all values of a run on three images."""
    _, traced = traced_network(request.param)
    recorder = Recorder(traced.graph_module, garbage_collect_values=False)
    with torch.no_grad():
        recorder.run(torch.rand(3, 3, SIZE, SIZE))
    return traced.graph_module, find_bridge_blocks(traced.graph_module, traced.sites), recorder.values


def test_block_computes_the_values_of_the_network(network):
    graph_module, bridge_blocks, values = network
    for bridge_block in bridge_blocks:
        block = extract_block(graph_module, bridge_block)
        with torch.no_grad():
            got = block.graph_module(*(values[node] for node in block.inputs))
        torch.testing.assert_close(got, values[block.output])


def test_block_output_depends_on_every_site(network):
    graph_module, bridge_blocks, values = network
    bridge_block = bridge_blocks[0]
    block = extract_block(graph_module, bridge_block)
    assert [site.name for site in block.sites] == [site.name for site in bridge_block.sites]
    assert [site.kind for site in find_sites(block.graph_module)] == [site.kind for site in block.sites]
    inputs = [values[node] for node in block.inputs]
    for site in block.sites:
        with torch.no_grad():
            changed = Changed(block.graph_module, site.node).run(*inputs)
        assert not torch.allclose(changed, values[block.output], rtol=1e-3)


class Changed(Interpreter):
    """Doubles the value of one node and adds one."""

    def __init__(self, graph_module, node):
        super().__init__(graph_module)
        self.node = node

    def run_node(self, node):
        value = super().run_node(node)
        return 2 * value + 1 + torch.rand_like(value) if node is self.node else value


def test_block_inputs_have_values_for_each_image(network):
    graph_module, bridge_blocks, values = network
    for bridge_block in bridge_blocks:
        for node in extract_block(graph_module, bridge_block).inputs:
            value = values[node]
            assert (value if isinstance(value, int) else len(value)) % 3 == 0, node
