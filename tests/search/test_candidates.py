"""Ever fewer candidates on ever more rows: which are kept, and how many are compared where."""

from dataclasses import replace

import pytest
import torch
from small_sites import LAYERS, all_losses, make_candidates, make_problem

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.ranges import observe
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.quantizers.base import same_quantizer
from qhyvit.search.alternating import alternate
from qhyvit.search.candidates import COMMON_ROWS, FINALISTS, SHORTLIST, SOME_ROWS, STAGES, UniformCandidates
from qhyvit.search.site_problem import SiteProblem
from qhyvit.search.subsample import one_in, sampled

FACTORS = torch.linspace(0.01, 1.2, 100)
FINALISTS_OF = UniformCandidates.finalists


def wide_layer(power=3):
    """A linear layer with more rows than any sample has; a larger ``power`` gives its input longer tails."""
    torch.manual_seed(0)
    site, weight = make_problem("linear")[0].site, torch.randn(16, 48)
    x = torch.randn(1, 2048, 48) ** power
    rows = SampledRows(x, torch.randn(1, 2048, 16), torch.ones(1, 2048, 1))
    return SiteProblem(site, weight, SiteStatistics({"input": observe(x[0], 1, 1)}, in_memory(rows)))


def families(problem, *, exhaustive, bits=4):
    """One of each operand."""
    units = {"weight": ("per_channel", "symmetric"), "input": ("per_tensor", "asymmetric")}
    return {operand: make_candidates(problem, operand, bits, *units[operand], FACTORS, exhaustive=exhaustive) for operand in units}


def test_few_candidates_are_compared_on_all_rows(monkeypatch):
    compared, losses_of = [], UniformCandidates._losses

    def counted(family, problem, granularity, other, index):
        compared.append((len(index), problem.gradient.shape[1]))
        return losses_of(family, problem, granularity, other, index)

    monkeypatch.setattr(UniformCandidates, "_losses", counted)
    problem = wide_layer()
    other = make_candidates(problem, "input", 8, "per_tensor", "asymmetric", FACTORS).start()
    families(problem, exhaustive=False)["weight"].shortlist().finalists(other)[1].best(other)
    (first, longlist), (second, _) = STAGES
    assert compared == [(len(FACTORS), first), (longlist, second), (SHORTLIST, SOME_ROWS), (FINALISTS, 2048)]


def test_each_unit_keeps_candidates_about_as_good_as_its_best():
    problem = wide_layer()
    fast, plain = (families(problem, exhaustive=exhaustive) for exhaustive in (False, True))
    for operand, other in (("weight", "input"), ("input", "weight")):
        given = plain[other].start()
        best = all_losses(plain[operand], given).min(0).values
        _, finalists = fast[operand].shortlist().finalists(given)
        kept = finalists.losses(given, finalists.remaining)
        assert kept.shape == (FINALISTS, *best.shape)
        assert (kept.min(0).values <= 1.1 * best).all()
        assert kept.min(0).values.sum() <= 1.03 * best.sum()
        loss, quantizer = finalists.best(given)
        assert loss == kept.min(0).values.sum()
        assert torch.equal(quantizer.scale, plain[operand].quantizer(finalists.remaining.gather(0, kept.argmin(0)[None])[0]).scale)


def test_an_exhaustive_family_finds_the_least_of_all_losses():
    problem = wide_layer()
    plain = families(problem, exhaustive=True)
    given = plain["input"].start()
    losses = all_losses(plain["weight"], given)
    loss, finalists = plain["weight"].shortlist().finalists(given)
    assert loss == losses.min(0).values.sum()
    assert torch.equal(finalists.remaining[0], losses.argmin(0))
    assert finalists.best(given)[0] == loss


def test_small_problem_keeps_all_candidates():
    problem, _ = make_problem("linear")
    family = make_candidates(problem, "weight", 4, "per_channel", "symmetric", FACTORS, exhaustive=False)
    assert family.shortlist().remaining is None


@pytest.mark.parametrize("misjudged", [True, False])
def test_misjudged_family_is_searched_again_on_all_rows(misjudged, monkeypatch):
    problem = wide_layer()
    exact = alternate({operand: [family] for operand, family in families(problem, exhaustive=True).items()}, 1)
    worst = torch.full((FINALISTS,), int(FACTORS.argmin()))

    def finalists(family, other):
        """Of the input the worst alone, with a loss as if it were much better, or with its own."""
        if family.operand != "input":
            return FINALISTS_OF(family, other)
        wrong = replace(family, remaining=worst)
        return wrong.best(other)[0] / (2 if misjudged else 1), wrong

    monkeypatch.setattr(UniformCandidates, "finalists", finalists)
    weight, sampled = families(problem, exhaustive=True)["weight"], families(problem, exhaustive=False)["input"]
    found = alternate({"weight": [weight], "input": [sampled]}, 1)
    assert torch.equal(found["input"].scale, exact["input"].scale) == misjudged


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(("operand", "other"), [("weight", "input"), ("input", "weight")])
def test_bounds_leave_out_candidates_but_none_of_the_best(operand, other, count):
    problem = wide_layer(power=1)
    plain = families(problem, exhaustive=True, bits=8)
    family, given = plain[operand], plain[other].start()
    sample, numbers = sampled(problem, operand, COMMON_ROWS), family._common_numbers
    least, best = family._losses(sample, "per_tensor", given, numbers).topk(count, largest=False)
    assert len(family._common_within_bound(sample, given, count)) < len(FACTORS) / 2
    found = family.best_common(given, count)
    assert [loss for loss, _ in found] == least.tolist()
    assert all(same_quantizer(one, family.quantizer(numbers[place])) for (_, one), place in zip(found, best, strict=True))


@pytest.mark.parametrize("objective", ["fisher", "mse", "cosine"])
@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
def test_losses_on_one_row_in_some_are_a_part_of_the_whole(name, objective):
    problem, _ = make_problem(name, (2, 2))
    part = one_in(problem, 2)
    assert 2 * part.gradient.shape[1] == problem.gradient.shape[1]
    first, second = problem.site.operands
    for operand, other in ((first, second), (second, first)):
        family = make_candidates(problem, operand, 4, "per_tensor", "symmetric", FACTORS, objective)
        given = make_candidates(problem, other, 4, "per_tensor", "symmetric", FACTORS).start()
        losses, parts = (family._losses(rows, "per_tensor", given, family._common_numbers) for rows in (problem, part))
        assert (parts <= losses * (1 + 1e-5)).all()
