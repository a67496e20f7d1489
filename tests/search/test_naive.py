"""The naive search against all combinations of candidates, and the fast search, with nothing left out, against the naive one."""

import pytest
import torch
from small_sites import LAYERS, make_candidates, make_problem

from benchmarks import exhaustive_search as naive
from qhyvit.search import alternating
from qhyvit.search.alternating import reconstruction_error

FACTORS = torch.tensor([0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
COMBINATIONS = {
    "per-tensor symmetric": [("per_tensor", "symmetric")],
    "per-channel asymmetric": [("per_channel", "asymmetric")],
    "all": [("per_tensor", "asymmetric"), ("per_tensor", "symmetric"), ("per_channel", "asymmetric"), ("per_channel", "symmetric")],
}


def make_operator(name, batches=1):
    """The small site as it is, with the gradient of its problem in the shape of its output."""
    problem, x = make_problem(name, [4 // batches] * batches)
    site = problem.site
    right = problem.weight if name != "matmul" else (x * 2 + 1).transpose(-2, -1)
    rows = problem.gradient
    if name == "matmul":
        gradient = rows.transpose(0, 1)
    elif name == "linear":
        gradient = rows.view(*x.shape[:-1], -1)
    else:
        height, width = site.node.meta["val"].shape[2:]
        gradient = rows.view(site.groups, len(x), height, width, -1).permute(1, 0, 4, 2, 3).flatten(1, 2)
    return naive.Operator(site.node.graph.owning_module, site, (x, right), gradient, batches), problem


def both_searches(name, of_weight, of_activations, bits, rounds, batches=1, factors=FACTORS):
    operator, problem = make_operator(name, batches)
    combinations = {operand: of_weight if operand == "weight" else of_activations for operand in problem.site.operands}
    validated = {operand: batches > 1 and operand != "weight" for operand in combinations}
    plain = {
        operand: [naive.Family(bits, *one, factors, validated[operand]) for one in allowed] for operand, allowed in combinations.items()
    }
    fast = {
        operand: [make_candidates(problem, operand, bits, *one, factors, cross_validated=validated[operand]) for one in allowed]
        for operand, allowed in combinations.items()
    }
    return operator, problem, naive.exhaustive_search(operator, plain, rounds), alternating.alternate(fast, rounds)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("bits", [3, 6])
@pytest.mark.parametrize("activations", COMBINATIONS)
@pytest.mark.parametrize("weights", [("per_channel", "symmetric"), ("per_tensor", "asymmetric")])
@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
def test_the_fast_search_with_nothing_left_out_finds_the_same(name, weights, activations, bits, batches):
    operator, _, plain, fast = both_searches(name, [weights], COMBINATIONS[activations], bits, 3, batches)
    for operand, expected in plain.items():
        found = fast[operand]
        assert (found.axis, found.scheme) == (expected.axis, expected.scheme)
        torch.testing.assert_close(found.scale, expected.scale)
        assert torch.equal(found.zero_point, expected.zero_point)
    assert operator.error(fast) == pytest.approx(operator.error(plain), rel=1e-4)


@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
def test_error_of_the_operator_is_that_of_the_problem(name):
    operator, problem, plain, _ = both_searches(name, [("per_channel", "symmetric")], [("per_tensor", "asymmetric")], bits=4, rounds=1)
    assert operator.error(plain) == pytest.approx(reconstruction_error(problem, plain), rel=1e-4)


def test_no_other_factor_is_better_for_any_output_channel():
    operator, _ = make_operator("dense")
    start = naive.Family(8, "per_tensor", "asymmetric", torch.tensor([1.0]))
    found = naive.exhaustive_search(
        operator, {"input": [start], "weight": [naive.Family(3, "per_channel", "symmetric", FACTORS)]}, rounds=1
    )
    found_errors = operator.errors({name: quantizer.fake_quantize(operator.operands[name]) for name, quantizer in found.items()})
    weight = operator.operands["weight"]
    for channel in range(len(weight)):
        errors = []
        for factor in FACTORS:
            scale = found["weight"].scale.clone()
            scale[channel] = factor * weight[channel].abs().max() / 3
            changed = torch.clamp(torch.round(weight / scale.view(-1, 1, 1, 1)), -4, 3) * scale.view(-1, 1, 1, 1)
            x = found["input"].fake_quantize(operator.operands["input"])
            output, reference = (
                torch.nn.functional.conv2d(a.double(), w.double(), padding=1)[:, channel]
                for a, w in ((x, changed), (operator.operands["input"], weight))
            )
            errors.append(float(((output - reference) * operator.gradient[:, channel]).square().sum()))
        assert found_errors[channel].item() == pytest.approx(min(errors), rel=1e-4)
        assert min(errors) < 0.99 * max(errors)


@pytest.mark.parametrize("name", ["depthwise", "one output", "one output per group"])
def test_each_channel_has_its_own_scale_where_candidates_outnumber_rows(name):
    factors = torch.linspace(0.2, 1.2, 150)
    operator, _, plain, fast = both_searches(name, [("per_channel", "symmetric")], [("per_channel", "symmetric")], 4, 1, factors=factors)
    assert operator.error(fast) == pytest.approx(operator.error(plain), rel=1e-4)
