import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qhyvit.quantizers.uniform import UniformQuantizer, range_to_grid, saturated_grid

BITS = st.integers(2, 8)
SCHEMES = st.sampled_from(["symmetric", "asymmetric"])
VALUES = arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32, allow_subnormal=False))


def covering(x: torch.Tensor, bits: int, scheme: str) -> UniformQuantizer:
    return UniformQuantizer.covering(x.amin(), x.amax(), bits, scheme)


def grid_points(quantizer: UniformQuantizer) -> np.ndarray:
    """Every value that the quantizer can represent, in float64."""
    low, high = quantizer.limits
    return (np.arange(low, high + 1, dtype=np.float64) - float(quantizer.zero_point)) * float(quantizer.scale)


@given(VALUES, BITS, SCHEMES)
def test_fake_quantize_takes_the_nearest_grid_point(values, bits, scheme):
    quantizer = covering(torch.from_numpy(values), bits, scheme)
    points = grid_points(quantizer)
    nearest = np.abs(values[:, None].astype(np.float64) - points).min(axis=1)
    got = np.abs(values - quantizer.fake_quantize(torch.from_numpy(values)).numpy().astype(np.float64))
    np.testing.assert_allclose(got, nearest, atol=1e-5 * max(1.0, float(np.abs(values).max())))


@given(VALUES, BITS, SCHEMES)
def test_uniform_integers_represent_the_fake_quantized_values(values, bits, scheme):
    x = torch.from_numpy(values)
    quantizer = covering(x, bits, scheme)
    integers = quantizer.quantize(x)
    expected_limits = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if scheme == "symmetric" else (0, 2**bits - 1)
    assert quantizer.limits == expected_limits
    torch.testing.assert_close(quantizer.dequantize(integers), quantizer.fake_quantize(x))


@given(VALUES, BITS, SCHEMES)
def test_zero_is_exact_and_a_zero_point_never_overflows(values, bits, scheme):
    quantizer = covering(torch.from_numpy(np.abs(values) + 1), bits, scheme)  # an all-positive channel
    assert float(quantizer.fake_quantize(torch.zeros(()))) == 0
    low, high = quantizer.limits
    assert low <= float(quantizer.zero_point) <= high


@pytest.mark.parametrize(("scheme", "scale", "zero_point"), [("symmetric", 2.0 / 127, 0), ("asymmetric", 3.0 / 255, 85)])
def test_hand_worked_grid(scheme, scale, zero_point):
    got_scale, got_zero_point = range_to_grid(torch.tensor(-1.0), torch.tensor(2.0), 8, scheme)
    assert float(got_scale) == pytest.approx(scale)
    assert float(got_zero_point) == zero_point


def test_saturated_grid_of_one_sided_range_begins_or_ends_at_0():
    low, high = torch.tensor([3.0, -4.0, -1.0]), torch.tensor([5.0, -1.0, 2.0])
    scale, zero_point = saturated_grid(low, high, 8, "asymmetric")
    torch.testing.assert_close(scale, torch.tensor([2 / 255, 3 / 255, 3 / 255]))
    assert zero_point.tolist() == [0, 255, 85]
    rounded = UniformQuantizer(8, "asymmetric", scale, zero_point, axis=0).fake_quantize(torch.stack([low, high], dim=1))
    # [0, 2] and [-3, 0] take the place of [3, 5] and [-4, -1]; the third channel contains 0
    torch.testing.assert_close(rounded, torch.tensor([[2.0, 2.0], [-3.0, -1.0], [-1.0, 2.0]]), atol=0.007, rtol=0)


@given(VALUES, BITS, SCHEMES)
def test_saturated_grid_of_a_range_around_zero_covers_it(values, bits, scheme):
    low, high = min(float(values.min()), -1.0), max(float(values.max()), 1.0)
    scale, zero_point = (float(value) for value in saturated_grid(torch.tensor(low), torch.tensor(high), bits, scheme))
    if scheme == "symmetric":
        assert (scale, zero_point) == (pytest.approx(max(-low, high) / (2 ** (bits - 1) - 1)), 0)
    else:
        assert scale == pytest.approx((high - low) / (2**bits - 1))
        assert zero_point == round(zero_point)
        assert abs(zero_point + low / scale) < 0.501  # integer 0 stands for the grid point next to low


def test_channels_are_quantized_by_themselves():
    x = torch.randn(5, 3, 4, 4) * torch.tensor([0.1, 1.0, 10.0]).view(3, 1, 1)
    low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
    together = UniformQuantizer.covering(low, high, 4, "asymmetric", axis=1).fake_quantize(x)
    for channel in range(3):
        alone = UniformQuantizer.covering(low[channel], high[channel], 4, "asymmetric").fake_quantize(x[:, channel])
        torch.testing.assert_close(together[:, channel], alone)


def test_a_dead_channel_stays_finite():
    quantizer = covering(torch.zeros(4), 8, "symmetric")
    assert torch.equal(quantizer.fake_quantize(torch.zeros(4)), torch.zeros(4))


@pytest.mark.parametrize("size", [1e-7, 1e-12, 1e-20])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_small_values_are_quantized_like_large_ones(scheme, size):
    x = torch.randn(64)
    expected, found = (covering(x * factor, 8, scheme).fake_quantize(x * factor) / factor for factor in (1, size))
    torch.testing.assert_close(found, expected)


def test_small_channel_next_to_large_ones_has_the_smallest_scale():
    low, high = torch.zeros(2), torch.tensor([1.0, 1e-9])
    quantizer = UniformQuantizer.covering(low, high, 8, "symmetric", axis=1)
    assert quantizer.scale[1] == torch.finfo(torch.float32).eps


def test_a_dead_channel_next_to_tiny_ones_stays_finite():
    high = torch.tensor([1e-9, 0.0])
    quantizer = UniformQuantizer.covering(-high, high, 8, "symmetric", axis=1)
    assert (quantizer.scale > 0).all()
    assert torch.equal(quantizer.fake_quantize(torch.zeros(1, 2)), torch.zeros(1, 2))


def test_scale_and_axis_must_fit():
    with pytest.raises(ValueError, match="do not fit together"):
        UniformQuantizer(8, "symmetric", torch.ones(3), torch.zeros(3))
