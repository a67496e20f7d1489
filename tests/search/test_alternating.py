"""The search against a loop in float64 that runs the real layer with every combination of candidates."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_sites import LAYERS, all_losses, make_candidates, make_problem, make_quantizer

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.ranges import observe
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.search.alternating import _contest, alternate, reconstruction_error
from qhyvit.search.candidates import Candidates
from qhyvit.search.site_problem import SiteProblem
from qhyvit.search.subsample import sampled

FACTORS = torch.tensor([0.4, 0.6, 0.8, 1.0])


def one_family(problem, factors, of_input, of_weight, *, exhaustive=True):
    """For each operand the candidates of one bit-width, granularity and scheme."""
    wanted = {"input": of_input, "weight": of_weight}
    return {operand: [make_candidates(problem, operand, *wanted[operand], factors, exhaustive=exhaustive)] for operand in wanted}


def true_objective(name, problem, x, quantizers):
    """The sum of squared gradient-weighted output errors, by running the layer itself in float64."""

    def fake(operand, tensor):
        grid = quantizers[operand]
        shape = [1] * tensor.ndim
        if grid.axis is not None:
            shape[grid.axis] = -1
        scale, zero = grid.scale.double().view(shape), grid.zero_point.double().view(shape)
        return (torch.clamp(torch.round(tensor.double() / scale) + zero, *grid.limits) - zero) * scale

    if name == "matmul":
        right = (x * 2 + 1).transpose(-2, -1)
        error = fake("left", x) @ fake("right", right) - x.double() @ right.double()
        gradient = problem.gradient.transpose(0, 1)
    else:
        layer = LAYERS[name]
        weight, bias = layer.weight.detach(), layer.bias.detach().double()

        def run(a, w):
            return F.linear(a, w, bias) if name == "linear" else F.conv2d(a, w, bias, layer.stride, layer.padding, 1, layer.groups)

        error = run(fake("input", x), fake("weight", weight)) - run(x.double(), weight.double())
        if name == "linear":
            gradient = problem.gradient[0].view(error.shape)
        else:
            per_position = problem.gradient.unflatten(1, (x.shape[0], -1)).permute(1, 0, 3, 2)
            gradient = per_position.reshape(error.shape)
    return float((gradient.double() * error).square().sum())


class Family:
    """Candidates of which one is left, with these losses on a sample and on all rows."""

    def __init__(self, estimate, loss):
        self.quantizer, self.estimate, self.loss = object(), estimate, loss

    def finalists(self, other):
        return self.estimate, self

    def best(self, other):
        return self.loss, self.quantizer


@pytest.mark.parametrize(("estimate", "is_compared"), [(1.2, True), (1.3, False)])
def test_families_with_nearly_equal_estimates_are_compared_on_all_rows(estimate, is_compared):
    first, second = Family(estimate=1.0, loss=1.0), Family(estimate=estimate, loss=0.9)
    least, quantizer, _ = _contest([first, second], object())
    assert (least, quantizer) == ((0.9, second.quantizer) if is_compared else (1.0, first.quantizer))


@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_the_objective_is_the_error_of_the_real_layer(name, granularity):
    problem, x = make_problem(name)
    quantizers = {operand: make_quantizer(problem, operand, 4, granularity, "asymmetric", 0.7) for operand in problem.site.operands}
    assert reconstruction_error(problem, quantizers) == pytest.approx(true_objective(name, problem, x, quantizers), rel=1e-4)


@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_many_candidates_at_once_have_the_errors_of_each_alone(name, granularity):
    problem, x = make_problem(name)
    first, second = problem.site.operands
    for operand, other in ((first, second), (second, first)):
        fixed = make_quantizer(problem, other, 4, "per_tensor", "symmetric", 0.9)
        grids = [make_quantizer(problem, operand, 4, granularity, "asymmetric", float(factor)) for factor in FACTORS]
        got = all_losses(make_candidates(problem, operand, 4, granularity, "asymmetric", FACTORS), fixed)
        assert got.shape[1:] == problem.units(operand, granularity)
        expected = [true_objective(name, problem, x, {operand: grid, other: fixed}) for grid in grids]
        assert got.reshape(len(FACTORS), -1).sum(1).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("exhaustive", [True, False])
@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
def test_one_operand_alone_gets_the_best_of_all_combinations(name, exhaustive):
    problem, x = make_problem(name)
    first, second = problem.site.operands
    combinations = (("per_tensor", "asymmetric"), ("per_tensor", "symmetric"))
    families = [make_candidates(problem, first, 4, *combination, FACTORS, exhaustive=exhaustive) for combination in combinations]
    found = alternate({first: families, second: [make_candidates(problem, second, 8, "per_tensor", "symmetric", FACTORS)]}, 3)

    def quantizers(granularity, scheme):
        return [found | {first: make_quantizer(problem, first, 4, granularity, scheme, float(factor))} for factor in FACTORS]

    losses = [true_objective(name, problem, x, q) for combination in combinations for q in quantizers(*combination)]
    assert true_objective(name, problem, x, found) == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < 0.99 * max(losses)


def test_every_channel_of_a_weight_gets_its_own_best_scale():
    problem, x = make_problem("dense")
    found = alternate(one_family(problem, FACTORS, (8, "per_tensor", "asymmetric"), (3, "per_channel", "symmetric")), rounds=1)
    start = make_quantizer(problem, "input", 8, "per_tensor", "asymmetric")
    best = min(
        true_objective("dense", problem, x, {"input": start, "weight": make_quantizer(problem, "weight", 3, "per_channel", "symmetric", f)})
        for f in (torch.tensor(factors) for factors in itertools.product(FACTORS.tolist(), repeat=6))
    )
    got = true_objective("dense", problem, x, {"input": start, "weight": found["weight"]})
    assert got == pytest.approx(best, rel=1e-4)


def test_depthwise_input_channels_get_their_own_best_scales():
    problem, x = make_problem("depthwise")
    found = alternate(one_family(problem, FACTORS, (3, "per_channel", "asymmetric"), (8, "per_channel", "symmetric")), rounds=1)
    best = min(
        true_objective("depthwise", problem, x, found | {"input": make_quantizer(problem, "input", 3, "per_channel", "asymmetric", f)})
        for f in (torch.tensor(factors) for factors in itertools.product(FACTORS.tolist(), repeat=4))
    )
    assert true_objective("depthwise", problem, x, found) == pytest.approx(best, rel=1e-4)


def test_channels_of_different_width_lead_to_per_channel():
    problem, _ = make_problem("depthwise")
    whole, by_channel = (
        one_family(problem, torch.tensor([1.0]), (4, granularity, "asymmetric"), (8, "per_channel", "symmetric"))
        for granularity in ("per_tensor", "per_channel")
    )
    assert alternate({"input": whole["input"] + by_channel["input"], "weight": whole["weight"]}, rounds=2)["input"].axis == 1


def test_a_second_round_never_makes_it_worse():
    problem, _ = make_problem("dense")
    candidates = one_family(problem, FACTORS, (3, "per_tensor", "asymmetric"), (3, "per_channel", "symmetric"))
    losses = [reconstruction_error(problem, alternate(candidates, rounds)) for rounds in (1, 2, 3)]
    assert np.all(np.diff(losses) <= 1e-6 * losses[0])


def test_what_would_not_change_is_not_searched_again(monkeypatch):
    searched, best = [], Candidates.best
    monkeypatch.setattr(Candidates, "best", lambda family, other: searched.append(family.operand) or best(family, other))
    problem, _ = make_problem("dense")
    alternate(one_family(problem, torch.ones(1), (3, "per_tensor", "asymmetric"), (3, "per_channel", "symmetric")), rounds=6)
    assert searched == ["weight", "input"]


def test_a_tenth_of_the_candidates_is_enough():
    torch.manual_seed(1)
    site, weight = make_problem("linear")[0].site, torch.randn(16, 48)
    x, gradient = F.silu(torch.randn(1, 2048, 48)), torch.randn(1, 2048, 16)
    ranges = {"input": observe(x[0], 1, 1)}
    problem = SiteProblem(site, weight, SiteStatistics(ranges, in_memory(SampledRows(x, gradient, torch.ones(1, 2048, 1)))))
    factors = torch.linspace(0.01, 1.2, 100)
    units = (8, "per_tensor", "asymmetric"), (8, "per_channel", "symmetric")
    plain, fast = (
        reconstruction_error(problem, alternate(one_family(problem, factors, *units, exhaustive=exhaustive), 3))
        for exhaustive in (True, False)
    )
    assert fast <= 1.05 * plain


def test_a_sample_has_about_the_error_of_the_whole():
    torch.manual_seed(1)
    site, weight = make_problem("linear")[0].site, torch.randn(256, 48)
    x, gradient = F.silu(torch.randn(1, 2048, 48)) * torch.rand(2048, 1) ** 2, torch.randn(1, 2048, 256) * torch.rand(256) ** 2
    rows = SampledRows(x, gradient, torch.ones(1, 2048, 1))
    problem = SiteProblem(site, weight, SiteStatistics({"input": observe(x[0], 1, 1)}, in_memory(rows)))
    sample = sampled(problem, "input", 512)
    assert sample.gradient.shape == sample.reference.shape == (1, 512, 64)
    quantizers = {operand: make_quantizer(problem, operand, 4, "per_tensor", "asymmetric", 0.9) for operand in site.operands}
    assert reconstruction_error(sample, quantizers) == pytest.approx(reconstruction_error(problem, quantizers), rel=0.1)


def many_products():
    torch.manual_seed(1)
    site = make_problem("matmul")[0].site
    left, right, gradient = torch.randn(2, 128, 64, 8), torch.randn(2, 128, 8, 40), torch.randn(2, 128, 64, 40)
    right[..., 5] *= 20
    ranges = {"left": observe(left, 0, 1), "right": observe(right, 0, 1)}
    return SiteProblem(site, None, SiteStatistics(ranges, in_memory(SampledRows(left, gradient, torch.ones(2, 128, 64, 1), right))))


@pytest.mark.parametrize(("operand", "kept"), [("left", (16, 40)), ("right", (64, 16))])
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_sample_of_products_has_about_the_error_of_all(operand, kept, factor):
    problem = many_products()
    sample = sampled(problem, operand, 4096)
    assert sample.gradient.shape == sample.reference.shape == (2, 128, *kept)
    quantizers = {name: make_quantizer(problem, name, 4, "per_tensor", "asymmetric", factor) for name in problem.site.operands}
    assert reconstruction_error(sample, quantizers) == pytest.approx(reconstruction_error(problem, quantizers), rel=0.1)


@pytest.mark.parametrize("operand", ["left", "right"])
@pytest.mark.parametrize("objective", ["fisher", "mse", "cosine"])
def test_every_objective_of_a_sample_is_about_that_of_the_whole(operand, objective):
    problem = many_products()
    (other,) = set(problem.site.operands) - {operand}
    fixed = make_quantizer(problem, other, 8, "per_tensor", "asymmetric")
    candidates = make_candidates(problem, operand, 4, "per_tensor", "asymmetric", FACTORS, objective)
    index = torch.arange(len(FACTORS))
    torch.testing.assert_close(candidates.losses(fixed, index, 4096), candidates.losses(fixed, index), rtol=0.1, atol=0)


def test_few_products_are_no_smaller_in_a_sample():
    problem, _ = make_problem("matmul")
    assert sampled(problem, "left", 128).gradient.shape == problem.gradient.shape


@pytest.mark.parametrize("operand", ["left", "right"])
def test_values_of_single_images_are_seen_by_the_first_comparison(operand):
    """In each batch of four the last image alone has the wide values, and the fewest rows are of all images."""
    torch.manual_seed(2)
    width = torch.tensor([1.0, 1.0, 1.0, 30.0]).repeat(8).view(32, 1, 1)
    left, right = torch.randn(1, 32, 49, 16) * width, torch.randn(1, 32, 16, 49) * width
    rows = SampledRows(left, torch.randn(1, 32, 49, 49), torch.ones(1, 32, 49, 1), right)
    ranges = {"left": observe(left, 0, 8), "right": observe(right, 0, 8)}
    problem = SiteProblem(make_problem("matmul")[0].site, None, SiteStatistics(ranges, in_memory(rows)))
    (other,) = set(problem.site.operands) - {operand}
    given = make_candidates(problem, other, 8, "per_tensor", "asymmetric", torch.ones(1))
    factors = torch.linspace(0.01, 1.2, 100)
    plain, fast = (
        reconstruction_error(problem, alternate({operand: [family], other: [given]}, 1))
        for family in (
            make_candidates(problem, operand, 8, "per_tensor", "asymmetric", factors, exhaustive=exhaustive) for exhaustive in (True, False)
        )
    )
    assert fast <= 1.05 * plain


def test_sample_of_very_many_products_is_of_some_in_each_batch():
    """With fewer rows than products there is one vector of each product that is kept."""
    problem = many_products()
    sample = sampled(problem, "left", 64)
    assert sample.gradient.shape == (2, 32, 1, 40)
    quantizers = {name: make_quantizer(problem, name, 4, "per_tensor", "asymmetric") for name in problem.site.operands}
    assert reconstruction_error(sample, quantizers) == pytest.approx(reconstruction_error(problem, quantizers), rel=0.3)
