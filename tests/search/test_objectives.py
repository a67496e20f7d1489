"""Each objective against numpy in float64, candidate by candidate."""

import numpy as np
import pytest
import torch
from small_sites import LAYERS, all_losses, make_candidates, make_problem, make_quantizer

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.ranges import observe
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.search.alternating import alternate
from qhyvit.search.objectives import CHUNK, OBJECTIVES
from qhyvit.search.site_problem import SiteProblem

FACTORS = [0.3, 0.7, 1.0]


def reduced(operand, granularity, rows, function, *tensors):
    """``function`` of the parts of the tensors that belong to one quantization unit."""
    if granularity == "per_tensor":
        return [function(*tensors)]
    if operand == "weight":
        columns = range(tensors[-1].shape[-1])
        return [function(*(tensor[group, ..., [column]] for tensor in tensors)) for group in range(rows) for column in columns]
    return [function(*(tensor[group] for tensor in tensors)) for group in range(rows)]


@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize(("sizes", "chunk"), [((4,), CHUNK), ((2, 2), 1)])  # all at once, or in the smallest parts
def test_operand_error_against_numpy(name, granularity, sizes, chunk, monkeypatch):
    monkeypatch.setattr("qhyvit.search.objectives.CHUNK", chunk)
    problem, _ = make_problem(name, sizes)
    problem.importance = torch.rand_like(problem.importance) + 0.5
    factor = problem.importance.double().numpy()
    for operand, other in (problem.site.operands, problem.site.operands[::-1]):
        fixed = make_quantizer(problem, other, 8, "per_tensor", "symmetric")
        grids = [make_quantizer(problem, operand, 3, granularity, "asymmetric", value) for value in FACTORS]
        candidates = make_candidates(problem, operand, 3, granularity, "asymmetric", torch.tensor(FACTORS), "mse")
        got = all_losses(candidates, fixed)
        for grid, found in zip(grids, got, strict=True):
            error = problem.quantized(operand, grid).double().numpy() - problem.tensors[operand].double().numpy()
            error = error * factor if operand == problem.site.operands[0] else error
            expected = reduced(operand, granularity, len(problem.reference), lambda part: (part**2).sum(), error)
            np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("bits", [3, 8])
def test_depthwise_gram_matrix_gives_error_of_product(granularity, bits):
    problem, _ = make_problem("depthwise")
    inputs = make_quantizer(problem, "input", bits, "per_tensor", "asymmetric")
    candidates = make_candidates(problem, "weight", bits, granularity, "asymmetric", torch.tensor(FACTORS))
    assert OBJECTIVES["fisher"].has_closed_form(problem, "weight")
    gradient, reference = (tensor.double().numpy() for tensor in (problem.gradient, problem.reference))
    expected = []
    for factor in FACTORS:
        weights = make_quantizer(problem, "weight", bits, granularity, "asymmetric", factor)
        rows, weight = (problem.quantized(*pair).double().numpy() for pair in (("input", inputs), ("weight", weights)))
        errors = ((rows @ weight - reference) * gradient) ** 2
        expected.append([errors.sum()] if granularity == "per_tensor" else errors.sum((1, 2)))
    np.testing.assert_allclose(all_losses(candidates, inputs).view(len(FACTORS), -1).numpy(), expected, rtol=1e-4)


def test_cosine_distance_of_equal_products_is_not_negative():
    site = make_problem("linear")[0].site
    for _ in range(20):
        rows, weight = (torch.randint(-126, 127, shape).index_fill(-1, torch.tensor([0]), 127) / 10 for shape in ((1, 64, 5), (6, 5)))
        sampled = SampledRows(rows, torch.ones(1, 64, 6), torch.ones(1, 64, 1))
        statistics = SiteStatistics({"input": observe(rows[0], 1, 1)}, in_memory(sampled))
        problem = SiteProblem(site, weight, statistics)
        families = {
            operand: [make_candidates(problem, operand, 8, "per_tensor", "symmetric", torch.ones(1), "cosine")] for operand in site.operands
        }
        for operand, other in (("input", "weight"), ("weight", "input")):
            losses = all_losses(families[operand][0], families[other][0].start())
            assert 0 <= losses <= 1e-6
        assert alternate(families, 2).keys() == families.keys()
