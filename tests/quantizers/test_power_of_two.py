import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from qhyvit.quantizers.power_of_two import power_of_two_factor
from qhyvit.quantizers.uniform import SMALLEST_SCALE

SAMPLES = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


def squared_errors(samples: np.ndarray, scale: float, zero_point: float, bits: int) -> np.ndarray:
    """The error of each channel with one scale, in float64."""
    q = np.clip(np.round(samples / scale) + zero_point, 0, 2**bits - 1)
    return np.square((q - zero_point) * scale - samples).sum(axis=0)


@given(SAMPLES, st.integers(2, 8))
@example(np.array([[2**-52, 0]], np.float32), 2)
def test_each_channel_has_the_factor_of_the_least_error(values, bits):
    samples = torch.from_numpy(values)
    low, high = samples.amin(), samples.amax()
    quantizer = power_of_two_factor(samples, low, high, bits, axis=1)
    coarsest = float(high - low) / (2**bits - 1) or SMALLEST_SCALE
    zero_point = float(quantizer.zero_point[0])
    exact = values.astype(np.float64)
    tried = np.stack([squared_errors(exact, coarsest * factor, zero_point, bits) for factor in (1 / 8, 1 / 4, 1 / 2, 1)])
    got = np.square(quantizer.fake_quantize(samples).numpy() - exact).sum(axis=0)
    np.testing.assert_allclose(got, tried.min(axis=0), rtol=1e-3, atol=1e-5 * float(np.square(exact).max()))
    assert set((quantizer.scale / coarsest).log2().round(decimals=4).tolist()) <= {-3, -2, -1, 0}
    assert bool((quantizer.zero_point == quantizer.zero_point[0]).all())


def test_hand_worked_factors():
    # s = 15 / 15 = 1 and the zero point is 5: a scale of 1 reaches -5..10, 1/2 -2.5..5, 1/4 -1.25..2.5, 1/8 -0.625..1.25
    samples = torch.tensor([[-5.0, -2.5, -1.25, -0.625, 0.0], [10.0, 4.5, 2.25, 1.125, 0.0]])
    quantizer = power_of_two_factor(samples, torch.tensor(-5.0), torch.tensor(10.0), bits=4, axis=-1)
    assert (quantizer.bits, quantizer.describe()) == (4, "per-channel asymmetric")
    assert quantizer.scale.tolist() == [1, 1 / 2, 1 / 4, 1 / 8, 1 / 8]  # the last channel is dead
    assert quantizer.zero_point.tolist() == [5] * 5
    assert quantizer.quantize(samples).tolist() == [[0, 0, 0, 0, 5], [15, 14, 14, 14, 5]]
    assert torch.equal(quantizer.fake_quantize(samples), samples)


def test_clamping_counts_as_error():
    samples = torch.tensor([[1.0], [0.1]])  # 1/8 would represent 0.1 better, but nothing above 7/8
    quantizer = power_of_two_factor(samples, torch.tensor(0.0), torch.tensor(7.0), bits=3, axis=1)
    assert quantizer.scale.tolist() == [1 / 4]


def test_a_range_on_one_side_of_zero_saturates_the_zero_point():
    for low, high, zero_point in ((1.0, 2.0, 0), (-2.0, -1.0, 255)):
        quantizer = power_of_two_factor(torch.tensor([[low], [high]]), torch.tensor(low), torch.tensor(high), bits=8, axis=1)
        assert quantizer.zero_point.tolist() == [zero_point]
        assert quantizer.scale.tolist() == [pytest.approx(1 / 255)]


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_layer_stays_finite(value):
    constant = torch.full((4, 2), value)
    rounded = power_of_two_factor(constant, constant.amin(), constant.amax(), bits=8, axis=1).fake_quantize(constant)
    assert bool(rounded.isfinite().all())
    assert value != 0 or torch.equal(rounded, constant)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 3, 4)])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="samples must be"):
        power_of_two_factor(torch.zeros(shape), torch.tensor(0.0), torch.tensor(1.0), bits=8, axis=1)


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="is empty"):
        power_of_two_factor(torch.zeros(2, 2), torch.tensor(1.0), torch.tensor(0.0), bits=8, axis=1)
