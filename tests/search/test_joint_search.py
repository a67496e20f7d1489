"""The joint search with all candidates against a loop in float64 that runs the whole block for every candidate."""

import copy
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Interpreter

from qhyvit.graph.bridge import BridgeBlock
from qhyvit.graph.bridge_subgraph import extract_block
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.base import same_quantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search import block_errors, channel_multipliers, joint_search
from qhyvit.search.block_errors import BlockErrors, OperandErrors, Scored
from qhyvit.search.channel_multipliers import Grids, improve_channels
from qhyvit.search.joint_search import improvements, search_jointly

BITS, ROUNDS = 3, 3
FACTORS = (1.0, 1.15, 0.85, 0.7, 0.55, 0.4)


def identity(site, operand, value):
    return value


class Patches(nn.Module):
    """A map, then tokens of four patches per image, so that a number and an axis grow with the batch, and a norm."""

    SITES = ("conv", "project")

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.project = nn.Conv2d(3, 4, 3, padding=1), nn.LayerNorm(4), nn.Linear(4, 5)

    def forward(self, x):
        return self.rest(self.conv(x), self.project, x.shape[0])

    def rest(self, maps, project, images):
        patches = maps.unflatten(2, (2, 2)).movedim(2, 1).reshape(images * 2, 4, -1).transpose(1, 2)
        return project(self.norm(patches))

    def quantized(self, x, quantize):
        maps = F.conv2d(quantize("conv", "input", x), quantize("conv", "weight", self.conv.weight), self.conv.bias, padding=1)
        return self.rest(maps, lambda tokens: linear(self, "project", tokens, quantize), x.shape[0])


class Exchange(nn.Module):
    """An attention of two heads whose keys and values are the tokens themselves, and a projection of its result."""

    SITES = ("queries", "matmul1", "matmul2", "merge")

    def __init__(self):
        super().__init__()
        self.queries, self.merge = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.quantized(x, identity, lambda name, value: getattr(self, name)(value))

    def quantized(self, x, quantize, layer=None):
        layer = layer or (lambda name, value: linear(self, name, value, quantize))
        tokens = x.flatten(2).transpose(1, 2)
        keys = tokens.unflatten(2, (2, 2)).transpose(1, 2)
        queries = layer("queries", tokens).unflatten(2, (2, 2)).transpose(1, 2)
        scores = quantize("matmul1", "left", 2 * queries) @ quantize("matmul1", "right", keys.transpose(-2, -1))
        attended = quantize("matmul2", "left", scores.softmax(-1)) @ quantize("matmul2", "right", keys + 1)
        return layer("merge", attended.transpose(1, 2).flatten(2))


def linear(model, name, x, quantize):
    layer = getattr(model, name)
    return F.linear(quantize(name, "input", x), quantize(name, "weight", layer.weight), layer.bias)


class Case:
    """A block of a network, made of all of its sites, with candidates for every operand."""

    def __init__(self, model, x):
        self.model, self.x = copy.deepcopy(model).double(), x
        graph_module = trace(model, x)
        sites = find_sites(graph_module)
        assert tuple(site.name for site in sites) == model.SITES
        block = extract_block(graph_module, BridgeBlock("conversion", (), (), tuple(sites), (), ()))
        self.gradient = torch.randn(model(x).shape)
        self.values = {}
        self.model.quantized(x.double(), self.keep)
        run = Interpreter(graph_module, garbage_collect_values=False)
        run.run(x)
        self.problem = BlockErrors(block, [run.env[node] for node in block.inputs], self.gradient)
        axes = {(site.name, operand): site.axis(operand) for site in sites for operand in site.operands}
        self.families = {place: families(self.values[place], axis, place[1]) for place, axis in axes.items()}
        self.start = {name: {} for name in model.SITES}
        for (name, operand), found in self.families.items():
            self.start[name][operand] = found[0][0]

    def keep(self, site, operand, value):
        self.values[site, operand] = value.detach().float()
        return value

    def error(self, quantizers, images=slice(None)):
        """By running the network in float64."""
        x = self.x[images].double()
        with torch.no_grad():
            exact = self.model.quantized(x, identity)
            output = self.model.quantized(x, lambda site, operand, value: quantizers[site][operand].fake_quantize(value))
        per_image = len(self.gradient) // len(self.x)
        gradient = self.gradient.unflatten(0, (len(self.x), per_image))[images].flatten(0, 1)
        return float(((output - exact) * gradient).square().sum())

    def search(self, rounds=ROUNDS):
        """Every candidate of every operand in turn, then of every channel: the best quantizers."""
        best = self.start
        for _ in range(rounds):
            for name in best:
                for operand in list(best[name])[::-1]:
                    best = best | {name: best[name] | {operand: self.best_of(name, operand, best)}}
        return best

    def best_of(self, name, operand, best):
        def scored(quantizer):
            return self.error(best | {name: best[name] | {operand: quantizer}}), quantizer

        def least(*quantizers):
            return min(map(scored, quantizers), key=lambda pair: pair[0])

        tried = [scored(best[name][operand]), *(least(*family) for family in self.families[name, operand])]
        per_channel = [pair for pair in tried if pair[1].axis is not None]
        error, found = min(per_channel, key=lambda pair: pair[0])
        (family,) = (each for each in self.families[name, operand] if each[0].describe() == found.describe())
        for channel in range(len(found.scale)):
            for each in family:
                scale, zero_point = found.scale.clone(), found.zero_point.clone()
                scale[channel], zero_point[channel] = each.scale[channel], each.zero_point[channel]
                candidate = UniformQuantizer(found.bits, found.scheme, scale, zero_point, found.axis)
                if scored(candidate)[0] < error:
                    error, found = scored(candidate)
        return min([*tried, (error, found)], key=lambda pair: pair[0])[1]


def families(values, axis, operand, bits=BITS):
    """One quantizer per factor, for every granularity and scheme of an operand; a weight's are per-channel and symmetric."""
    channels = values.movedim(axis, 0).flatten(1)
    low, high = channels.amin(1), channels.amax(1)
    kinds = [("channel", "symmetric")] if operand == "weight" else product(("tensor", "channel"), ("asymmetric", "symmetric"))
    return [
        [
            UniformQuantizer.covering(factor * low, factor * high, bits, scheme, axis)
            if granularity == "channel"
            else UniformQuantizer.covering(factor * low.amin(), factor * high.amax(), bits, scheme)
            for factor in FACTORS
        ]
        for granularity, scheme in kinds
    ]


def make(name, images=4):
    torch.manual_seed(1)
    x = torch.randn(images, *{"patches": (3, 4, 4), "exchange": (4, 3, 2)}[name])
    return Case({"patches": Patches, "exchange": Exchange}[name](), x * torch.linspace(0.3, 2, x.shape[1]).view(-1, 1, 1))


@pytest.fixture(scope="module", params=["patches", "exchange"])
def case(request):
    return make(request.param)


def test_errors_of_many_values_are_those_of_the_network(case, monkeypatch):
    monkeypatch.setattr(block_errors, "CHUNK", 500)  # several chunks, the last one smaller
    for site, operand in product(case.problem.block.sites, (0, 1)):
        operand = site.operands[operand]
        errors = OperandErrors(case.problem, site, operand, case.start)
        tried = [quantizer for family in case.families[site.name, operand] for quantizer in family]
        found = errors.errors(quantizer.fake_quantize(errors.exact) for quantizer in tried)
        expected = [case.error(case.start | {site.name: case.start[site.name] | {operand: quantizer}}) for quantizer in tried]
        torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-4, atol=0)


def test_sample_has_the_errors_of_its_images(case, monkeypatch):
    monkeypatch.setattr(block_errors, "SAMPLE", 1)
    monkeypatch.setattr(block_errors, "FEWEST", 1)
    assert case.problem.sampled(case.start).error(case.start) == pytest.approx(case.error(case.start, [0]), rel=1e-4)
    monkeypatch.setattr(block_errors, "FEWEST", 3)
    assert case.problem.sampled(case.start).error(case.start) == pytest.approx(case.error(case.start, [0, 1, 2]), rel=1e-4)
    monkeypatch.setattr(block_errors, "FEWEST", 1)
    elements = sum(value.numel() for value in case.problem.values(case.start).values() if isinstance(value, torch.Tensor))
    monkeypatch.setattr(block_errors, "SAMPLE", elements // 2 + 1)
    assert case.problem.sampled(case.start).error(case.start) == pytest.approx(case.error(case.start, [0, 2]), rel=1e-4)
    monkeypatch.setattr(block_errors, "SAMPLE", 2 * elements)
    assert case.problem.sampled(case.start) is case.problem


def test_choices_equal_those_of_the_loop_over_all_candidates(case):
    found, expected = search_jointly(case.problem, case.start, case.families, ROUNDS), case.search()
    for name, operand in case.families:
        assert same_quantizer(found[name][operand], expected[name][operand]), (name, operand)
    assert case.error(found) < 0.7 * case.error(case.start)


@pytest.mark.parametrize("sample", [None, 1], ids=["all images", "two images"])
def test_error_falls_with_every_change(case, monkeypatch, sample):
    if sample:
        monkeypatch.setattr(block_errors, "SAMPLE", sample)
    states = list(improvements(case.problem, case.start, case.families, ROUNDS))
    errors = [error for _, error in states]
    assert errors == pytest.approx([case.error(quantizers) for quantizers, _ in states], rel=1e-4)
    assert len(errors) > 4
    assert all(after < before for before, after in pairwise(errors))


def test_best_of_a_family_by_the_sample_are_compared_on_all_images(case, monkeypatch):
    monkeypatch.setattr(block_errors, "SAMPLE", 1)
    monkeypatch.setattr(joint_search, "SHORTLIST", 2)
    monkeypatch.setattr(joint_search, "improve_channels", lambda errors, sample, start, grids: start)
    site = case.problem.block.sites[0]
    name, operand = site.name, site.operands[1]  # the operand that is searched first

    def error(quantizer, images=slice(None)):
        return case.error(case.start | {name: case.start[name] | {operand: quantizer}}, images)

    tried = [sorted(family, key=lambda quantizer: error(quantizer, [0, 2]))[:2] for family in case.families[name, operand]]
    _, (first, _), *_ = improvements(case.problem, case.start, case.families, 1)
    assert same_quantizer(first[name][operand], min(sum(tried, [case.start[name][operand]]), key=error))


def test_search_ends_after_a_round_without_a_change(case, monkeypatch):
    searched = []
    search = joint_search._search_operand
    monkeypatch.setattr(joint_search, "_search_operand", lambda *arguments: searched.append(1) or search(*arguments))
    best = search_jointly(case.problem, case.start, case.families, 10)
    assert search_jointly(case.problem, best, case.families, 1) == best
    assert len(searched) < 10 * len(case.families)


LAST = {"linear": lambda: nn.Linear(4, 5), "pointwise": lambda: nn.Conv2d(4, 5, 1), "spatial": lambda: nn.Conv2d(4, 5, 3, padding=1)}


class Tail(nn.Module):
    """A convolution, and one layer behind it."""

    SITES = ("conv", "last")

    def __init__(self, last):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 1), last
        self.is_linear = isinstance(last, nn.Linear)

    def forward(self, x):
        maps = F.silu(self.conv(x))
        return self.last(maps.flatten(2).transpose(1, 2) if self.is_linear else maps)

    def quantized(self, x, quantize):
        maps = F.silu(F.conv2d(quantize("conv", "input", x), quantize("conv", "weight", self.conv.weight), self.conv.bias))
        maps = quantize("last", "input", maps.flatten(2).transpose(1, 2) if self.is_linear else maps)
        weight = quantize("last", "weight", self.last.weight)
        if self.is_linear:
            return F.linear(maps, weight, self.last.bias)
        return F.conv2d(maps, weight, self.last.bias, padding=self.last.padding)


@pytest.mark.parametrize("operand", ["input", "weight"])
@pytest.mark.parametrize("kind", LAST)
def test_closed_form_of_the_last_layer_equals_runs_of_the_block(kind, operand, monkeypatch):
    case = Case(Tail(LAST[kind]()), torch.randn(4, 3, 4, 4) * torch.linspace(0.3, 2, 3).view(-1, 1, 1))
    errors = OperandErrors(case.problem, case.problem.block.sites[1], operand, case.start)
    family = case.families["last", operand][-1]  # per-channel
    start = errors.least(family)
    by_runs = channel_multipliers._by_runs(errors, errors, start, Grids(family))
    if (kind, operand) != ("spatial", "input"):
        monkeypatch.setattr(channel_multipliers, "_by_runs", None)
    found = improve_channels(errors, errors, start, Grids(family))
    assert same_quantizer(found.quantizer, by_runs.quantizer)
    assert found.error == pytest.approx(by_runs.error)
    assert found.error < start.error
    monkeypatch.undo()
    monkeypatch.setattr(errors, "scored", lambda quantizer: Scored(start.error + 1, quantizer))  # all images have more, and the sample less
    assert channel_multipliers._by_runs(errors, errors, start, Grids(family)) is start


def test_multipliers_of_a_run_are_at_equal_distances_of_their_size():
    factors = (1.0, 0.9, 1.1, 0.8, 1.2, 0.7, 1.3)
    grids = Grids([UniformQuantizer(4, "symmetric", torch.tensor([each, 2 * each]), torch.zeros(2), 0) for each in factors])
    assert grids.thinned(4).scale[:, 0].tolist() == pytest.approx([0.9, 1.1, 0.7, 1.3])
    assert torch.equal(grids.thinned(7).scale, grids.scale)


def test_multipliers_per_channel_beat_a_common_one_where_channels_are_uneven():
    """Two of three channels have outliers in an image that no gradient reaches, and are best clipped; the other is not."""
    case = make("patches", images=8)
    case.problem.inputs[0][0, ::2] *= 3
    case.problem.gradient[:2] = 0
    case.problem = BlockErrors(case.problem.block, case.problem.inputs, case.problem.gradient)
    per_channel = families(case.problem.inputs[0], 1, "input")[-1]
    site = case.problem.block.sites[0]
    fine = {
        name: {key: families(case.values[name, key], site.axis(key), key, 8)[0][0] for key in of_site}
        for name, of_site in case.start.items()
    }
    errors = OperandErrors(case.problem, site, "input", fine)
    common = errors.least(per_channel)
    found = improve_channels(errors, errors, common, Grids(per_channel))
    assert found.error < 0.75 * common.error
    multipliers = found.quantizer.scale / per_channel[0].scale
    assert multipliers[::2].max() < multipliers[1::2].min()
