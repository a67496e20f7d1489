"""The joint search of a bridge block against a loop over copies of the network with quantizers inserted."""

from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import nn

from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.bridge_subgraph import extract_block
from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.block_search import QuantizedBlock, search_block


class Bridge(nn.Module):
    """A map that becomes tokens: convolution, flatten, norm, projection."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.project = nn.Linear(8, 6)

    def forward(self, x):
        return self.project(self.norm(self.conv(x).flatten(2).transpose(1, 2)))


@pytest.fixture(scope="module")
def bridge():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6)
    graph_module = trace(Bridge(), x)
    (bridge_block,) = find_bridge_blocks(graph_module, find_sites(graph_module))
    block = extract_block(graph_module, bridge_block)
    gradient = torch.randn(4, 36, 6)
    return graph_module, x, gradient, QuantizedBlock(block, [x], gradient)


def grid(factor, scheme="asymmetric"):
    return UniformQuantizer.covering(torch.tensor(-factor), torch.tensor(factor), 3, scheme)


START = {name: {"input": grid(3.0), "weight": grid(0.5, "symmetric")} for name in ("conv", "project")}


def true_error(bridge, quantizers):
    """By running the network itself in float64 with the quantizers inserted."""
    graph_module, x, gradient, _ = bridge
    rounded = deepcopy(graph_module)
    insert_quantizers(rounded, find_sites(rounded), quantizers)
    output, reference = (network.double()(x.double()) for network in (rounded, deepcopy(graph_module)))
    return float(((output - reference) * gradient).square().sum())


def test_the_error_is_that_of_the_network(bridge):
    assert bridge[3].error(START) == pytest.approx(true_error(bridge, START), rel=1e-3)


def test_known_values_change_nothing(bridge):
    problem = bridge[3]
    for site in problem.block.sites:
        known = problem.before(site, START)
        assert problem.error(START, known) == problem.error(START)
        assert site.node not in known


def test_one_free_operand_gets_the_best_of_its_options(bridge):
    problem = bridge[3]
    options = {(site.name, operand): [] for site in problem.block.sites for operand in site.operands}
    options["conv", "input"] = [grid(factor, scheme) for factor, scheme in product((0.5, 1.0, 2.0, 4.0), ("symmetric", "asymmetric"))]
    found = search_block(problem, START, options, rounds=2)
    errors = [true_error(bridge, START | {"conv": START["conv"] | {"input": option}}) for option in options["conv", "input"]]
    assert true_error(bridge, found) == pytest.approx(min(errors), rel=1e-3)
    assert min(errors) < 0.9 * true_error(bridge, START)
    assert found["project"] == START["project"]


def test_every_round_improves_or_ends(bridge):
    problem = bridge[3]
    factors = (0.2, 0.4, 0.8, 1.6, 3.2)
    options = {(site.name, operand): [grid(factor) for factor in factors] for site in problem.block.sites for operand in site.operands}
    errors = [problem.error(START), *(problem.error(search_block(problem, START, options, rounds)) for rounds in (1, 2, 3))]
    assert errors == sorted(errors, reverse=True)
    assert errors[1] < errors[0]


def test_block_search_tries_no_known_option_again(bridge, monkeypatch):
    problem, tried = bridge[3], []
    error_of = QuantizedBlock.error
    monkeypatch.setattr(QuantizedBlock, "error", lambda self, quantizers, known=None: tried.append(1) or error_of(self, quantizers, known))
    worse = [grid(1e-3), grid(1e3)]
    options = {(name, operand): [quantizer, *worse] for name, of_site in START.items() for operand, quantizer in of_site.items()}
    assert search_block(problem, START, options, rounds=3) == START
    assert len(tried) == 1 + len(worse) * len(options)
