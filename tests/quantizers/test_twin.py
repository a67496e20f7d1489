import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qhyvit.quantizers.twin import (
    GELU_MINIMUM,
    SILU_MINIMUM,
    AddedTwinUniformQuantizer,
    TwinUniformQuantizer,
    after_activation,
    after_softmax,
)

BITS = st.integers(2, 8)
VALUES = arrays(np.float32, st.integers(1, 40), elements=st.floats(-1, 2, width=32, allow_subnormal=False))
SPLITS = st.integers(0, 19).map(lambda octave: 2.0**-octave)
MINIMA = st.sampled_from([GELU_MINIMUM, SILU_MINIMUM])
SCALES = st.floats(2**-10, 1, width=32)


def assert_nearest(quantizer: TwinUniformQuantizer, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Every value is as near to what represents it as to any point of the grid of its side of the boundary."""
    exact = values.astype(np.float64)
    nearest = [np.abs((low if value < quantizer.boundary else high) - value).min() for value in exact]
    got = quantizer.fake_quantize(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(np.abs(exact - got), nearest, atol=1e-6)


@given(VALUES, SPLITS, BITS)
def test_probabilities_take_the_nearest_point_of_their_range(values, split, bits):
    multiples = np.arange(2 ** (bits - 1)) / (2 ** (bits - 1) - 1)
    assert_nearest(after_softmax(split, bits), values, low=split * multiples, high=multiples)


@given(VALUES, MINIMA, SCALES, BITS)
def test_activations_take_the_nearest_point_of_their_half(values, lowest, scale, bits):
    half = 2 ** (bits - 1)
    quantizer = after_activation(lowest, torch.tensor(scale), bits)
    assert_nearest(quantizer, values, low=lowest * np.arange(half + 1) / half, high=scale * np.arange(half))


@given(VALUES, SPLITS, MINIMA, SCALES, BITS)
def test_twin_codes_represent_the_fake_quantized_values(values, split, lowest, scale, bits):
    x = torch.from_numpy(values)
    for quantizer in (after_softmax(split, bits), after_activation(lowest, torch.tensor(scale), bits)):
        codes = quantizer.quantize(x)
        assert bool(((codes == codes.round()) & (codes >= 0) & (codes < 2**bits)).all())
        assert torch.equal(quantizer.dequantize(codes), quantizer.fake_quantize(x))


@given(MINIMA, SCALES, BITS)
def test_every_code_of_an_activation_is_its_own_value(lowest, scale, bits):
    quantizer = after_activation(lowest, torch.tensor(scale), bits)
    codes = torch.arange(2.0**bits)
    assert torch.equal(quantizer.quantize(quantizer.dequantize(codes)), codes)


def test_hand_worked_probabilities():
    quantizer = after_softmax(split=0.25, bits=3)  # four multiples of 1/12 below 0.25, four of 1/3 from there
    x = torch.tensor([-0.1, 0.03, 0.05, 0.24, 0.25, 0.4, 0.6, 1.0, 1.2])
    assert quantizer.quantize(x).tolist() == [0, 0, 1, 3, 4 + 1, 4 + 1, 4 + 2, 4 + 3, 4 + 3]
    expected = torch.tensor([0, 0, 1 / 12, 0.25, 1 / 3, 1 / 3, 2 / 3, 1, 1])
    torch.testing.assert_close(quantizer.fake_quantize(x), expected)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        # four multiples of 1/12 below 0.25, and of 1/3, where 0.25 becomes 1/3
        (0.25, [1 / 3, 1 / 12 + 1 / 3, 0.25 + 1 / 3, 1 / 3 + 0.25, 1 / 3 + 0.25, 2 / 3 + 0.25, 1.25]),
        # of 1/24 below 0.125, and of 1/3, where 0.125 becomes 0
        (0.125, [0, 1 / 24, 0.125 + 1 / 3, 0.125 + 1 / 3, 0.125 + 1 / 3, 0.125 + 2 / 3, 1.125]),
        # of 1/6 below 0.5, and of 1/3, where 0.5 becomes 2/3, as 1.5 rounds to 2
        (0.5, [2 / 3, 2 / 3, 1 / 6 + 2 / 3, 1 / 3 + 2 / 3, 1 / 3 + 2 / 3, 2 / 3 + 0.5, 1.5]),
    ],
)
def test_hand_worked_sum_of_both_halves(split, expected):
    quantizer = after_softmax(split, 3, AddedTwinUniformQuantizer)
    x = torch.tensor([0.0, 0.05, 0.24, 0.26, 0.4, 0.6, 1.0])
    torch.testing.assert_close(quantizer.fake_quantize(x), torch.tensor(expected))
    assert torch.equal(quantizer.quantize(x), after_softmax(split, 3).quantize(x))


def test_hand_worked_gelu():
    quantizer = after_activation(GELU_MINIMUM, positive_scale=torch.tensor(0.5), bits=3)  # a negative step is 0.0425
    x = torch.tensor([-0.2, -0.16997, -0.1, -0.02, 0.0, 0.3, 1.2, 9.0])
    assert quantizer.quantize(x).tolist() == [0, 0, 2, 4, 4, 4 + 1, 4 + 2, 4 + 3]
    expected = torch.tensor([-0.16997124, -0.16997124, -0.08498562, 0, 0, 0.5, 1, 1.5])
    torch.testing.assert_close(quantizer.fake_quantize(x), expected)


def test_the_minima_are_those_of_the_functions():
    x = torch.linspace(-2, 0, 200_001, dtype=torch.float64)
    assert pytest.approx(float(torch.nn.functional.gelu(x).min()), abs=1e-7) == GELU_MINIMUM
    assert pytest.approx(float(torch.nn.functional.silu(x).min()), abs=1e-9) == SILU_MINIMUM


@pytest.mark.parametrize("quantizer", [after_softmax(2.0**-19, 8), after_activation(SILU_MINIMUM, torch.tensor(1e-7), 4)])
def test_zero_is_exact_and_constants_are_finite(quantizer):
    assert torch.equal(quantizer.fake_quantize(torch.zeros(4)), torch.zeros(4))
    assert bool(quantizer.fake_quantize(torch.full((4,), 1e6)).isfinite().all())


@pytest.mark.parametrize("split", [0.0, -0.5, 1.5, float("nan")])
def test_a_split_outside_the_probabilities_is_refused(split):
    with pytest.raises(ValueError, match="the split must be"):
        after_softmax(split, 4)


@pytest.mark.parametrize("lowest", [0.0, 0.1, float("nan")])
def test_a_lowest_value_that_is_not_negative_is_refused(lowest):
    with pytest.raises(ValueError, match="the lowest value must be negative"):
        after_activation(lowest, torch.tensor(0.1), 4)


@pytest.mark.parametrize("boundary", [-0.1, float("nan")])
def test_a_boundary_below_zero_is_refused(boundary):
    with pytest.raises(ValueError, match="boundary must not be below 0"):
        TwinUniformQuantizer(4, boundary, torch.tensor(1.0), torch.tensor(1.0))
