"""Results that mode full leaves in floating point, on a small network that has one of each kind, and on a network of the paper."""

from collections import Counter
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from conftest import REPOSITORY
from torch import nn
from traced_networks import traced_network

from qhyvit.graph.fake_quant import FakeQuantize, insert_quantizers
from qhyvit.graph.floating_point import find_floating_point
from qhyvit.graph.floating_point_kinds import KINDS
from qhyvit.graph.nodes import module_path, rearranges
from qhyvit.graph.output_sites import OutputSite, find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.graph.walks import constants
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.reporting.registry import TABLES


class Network(nn.Module):
    """An attention with a residual connection, a gate, a mean and a pooling, between a convolution and a head."""

    def __init__(self):
        super().__init__()
        self.conv, self.queries, self.merge, self.gate = nn.Conv2d(3, 6, 1), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.means, self.head = nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = F.max_pool2d(self.conv(x), 2)
        tokens = x.flatten(2).transpose(1, 2)
        queries = self.queries(tokens)
        attended = (queries @ queries.transpose(1, 2) * 0.5).softmax(-1) @ tokens
        tokens = tokens + self.merge(attended)
        gated = tokens * self.gate(tokens).sigmoid()
        return self.head(torch.cos(self.means(gated) + gated.mean(1, keepdim=True)).mean(1)) * 2


EXPECTED = [
    ("conv2d", "layer"),  # read by the pooling
    ("max_pool2d", "other"),  # read by the addition too
    ("matmul", "logits"),
    ("mul", "product"),  # the scaled logits
    ("linear", "layer"),  # read by the addition
    ("linear", "layer"),  # read by the sigmoid
    ("mul", "product"),  # read by the mean too
    ("linear", "layer"),  # read by the sum
    ("mean", "sum"),
    ("add", "sum"),  # of unlike shapes
    ("cos", "other"),
    ("linear", "network"),
    ("mul", "network"),
]  # the last mean is read by the head alone


@pytest.fixture
def small():
    return trace(Network(), torch.randn(2, 3, 8, 8))


def test_each_result_that_stays_fp32_is_named_with_its_kind(small):
    found = find_floating_point(small, find_sites(small))
    assert [(result.operator.split(".")[1], result.kind) for result in found] == EXPECTED
    assert {kind for _, kind in EXPECTED} == KINDS.keys()


def read_unrounded(graph_module):
    """Names and operators of the computed tensors that anything but a quantizer reads, in a graph quantized in mode full."""
    sites = [*find_sites(graph_module), *find_output_sites(graph_module)]
    grid = UniformQuantizer.covering(torch.tensor(-1.0), torch.tensor(1.0), 8, "asymmetric")
    names = {site.name: ("output",) if isinstance(site, OutputSite) else site.operands for site in sites}
    insert_quantizers(graph_module, sites, {name: dict.fromkeys(operands, grid) for name, operands in names.items()})
    modules, fixed = dict(graph_module.named_modules()), constants(graph_module.graph)

    def rounds(node):
        return node.op == "call_module" and isinstance(modules[node.target], FakeQuantize)

    def is_read(node):
        return any(is_read(user) if rearranges(user) else not rounds(user) for user in node.users)

    for node in graph_module.graph.nodes:
        value = node.meta.get("val")
        computed = node.op == "call_function" and isinstance(value, torch.Tensor) and value.is_floating_point() and node not in fixed
        if computed and not rearranges(node) and is_read(node):
            yield module_path(node) or node.name, str(node.target)


@pytest.mark.parametrize("name", ["small", "mobilevitv2_050", "mobile_former_26m"])
def test_all_that_a_fully_quantized_graph_reads_unrounded_is_listed(name, small):
    graph_module = small if name == "small" else deepcopy(traced_network(name)[1].graph_module)
    listed = Counter((result.name, result.operator) for result in find_floating_point(graph_module, find_sites(graph_module)))
    assert listed
    assert listed == Counter(read_unrounded(graph_module))


def test_docs_and_caption_of_table_iii_list_all_kinds():
    page = " ".join((REPOSITORY / "docs/methods.md").read_text().split())
    assert [kind for kind, words in KINDS.items() if f"- {words}" not in page] == []
    assert [kind for kind, words in KINDS.items() if words not in TABLES["table_iii"].caption] == []
