import numpy as np
import pytest
import torch
from small_sites import make_problem, make_quantizer

from qhyvit.search.alternating import reconstruction_error
from qhyvit.search.rescaling import channel_factors, in_original_units, rescaled

FACTORS = torch.tensor([0.25, 1.0, 1.5, 4.0, 0.7])


def factors_of(problem):
    return FACTORS[: len(problem.channel_ranges["input"][0])]


def searched(name, scheme):
    """A problem, factors, and quantizers of x / r and W r: 4 bits that clip a part of the range."""
    problem, _ = make_problem(name)
    factors = factors_of(problem)
    scaled = rescaled(problem, factors)
    found = {
        "input": make_quantizer(scaled, "input", 4, "per_tensor", scheme, 0.8),
        "weight": make_quantizer(scaled, "weight", 4, "per_channel", "symmetric", 0.9),
    }
    return problem, factors, scaled, found


def rounded(value, scale, zero_point, low, high):
    return (min(max(round(value / scale) + zero_point, low), high) - zero_point) * scale


@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("name", ["dense", "linear"])
def test_error_of_rescaled_layer_equals_a_loop_in_float64(name, scheme):
    problem, factors, scaled, found = searched(name, scheme)
    rows, gradients = problem.tensors["input"][0].double().numpy(), problem.gradient[0].double().numpy()
    weight = problem.weight.double().flatten(1).numpy()
    of_kernel = weight.shape[1] // len(factors)
    inputs, scales = found["input"], found["weight"].scale.tolist()
    grid = float(inputs.scale), float(inputs.zero_point), *inputs.limits
    r = [float(factors[k // of_kernel]) for k in range(weight.shape[1])]
    values = [[rounded(x / r[k], *grid) for k, x in enumerate(row)] for row in rows]
    weights = [[rounded(w * r[k], scales[o], 0, -8, 7) for k, w in enumerate(row)] for o, row in enumerate(weight)]
    error = sum(
        ((np.dot(values[t], weights[o]) - np.dot(rows[t], weight[o])) * gradients[t, o]) ** 2 for t, o in np.ndindex(*gradients.shape)
    )
    assert reconstruction_error(scaled, found) == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("name", ["dense", "linear"])
def test_quantizers_in_original_units_have_the_error_of_the_rescaled_layer(name, scheme, granularity):
    problem, factors, scaled, found = searched(name, scheme)
    found["weight"] = make_quantizer(scaled, "weight", 4, granularity, "symmetric", 0.9)
    original = in_original_units(problem, found, factors)
    assert original["weight"].scale.shape == problem.weight.shape[:1]
    assert reconstruction_error(problem, original) == pytest.approx(reconstruction_error(scaled, found), rel=1e-3)


def test_factors_divide_ranges_and_leave_the_product():
    problem, _ = make_problem("dense")
    factors = channel_factors(problem, 1.0)
    scaled = rescaled(problem, factors)
    low, high = scaled.range("input", "per_channel")
    torch.testing.assert_close(high - low, (high - low).mean().expand(4))
    torch.testing.assert_close(factors.log().sum(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.tensors["input"] @ scaled.tensors["weight"], problem.reference)


@pytest.mark.parametrize("strength", [0, 0.5, 0.75])
def test_factors_are_powers_of_the_width_of_a_channel(strength):
    problem, _ = make_problem("dense")
    low, high = (bound.double().numpy() for bound in problem.channel_ranges["input"])
    widths = np.maximum(high, 0) - np.minimum(low, 0)
    expected = (widths / widths.prod() ** (1 / len(widths))) ** strength
    np.testing.assert_allclose(channel_factors(problem, strength), expected, rtol=1e-5)


def test_silent_channel_has_a_factor_as_if_it_had_a_small_range():
    problem, _ = make_problem("dense")
    low, high = problem.channel_ranges["input"]
    low[0] = high[0] = 0
    factors = channel_factors(problem, 1.0)
    ranges = high - low
    torch.testing.assert_close(factors[1:] / factors[-1], ranges[1:] / ranges[-1])
    assert float(factors[0] / factors.max()) == pytest.approx(2**-8)


def test_layer_that_is_silent_altogether_keeps_one_scale():
    problem, _ = make_problem("linear")
    for bound in problem.channel_ranges["input"]:
        bound.zero_()
    torch.testing.assert_close(channel_factors(problem, 1.0), torch.ones(5))
