import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qhyvit.quantizers.logarithmic import LogQuantizer

BITS = st.integers(2, 8)
STEPS = st.sampled_from([1, 2])
DELTAS = st.floats(2**-6, 1, width=32)
PROBABILITIES = arrays(np.float32, st.integers(1, 40), elements=st.floats(0, 1, width=32, allow_subnormal=False))


@given(PROBABILITIES, BITS, STEPS, DELTAS)
def test_quantize_takes_the_nearest_integer_in_the_logarithm(values, bits, steps, delta):
    positive = values[values > 0].astype(np.float64)
    exact = np.clip(-steps * np.log2(positive / delta), 0, 2**bits)
    integers = np.arange(2**bits + 1)
    nearest = np.abs(exact[:, None] - integers).min(axis=1)
    got = LogQuantizer(bits, steps, torch.tensor(delta)).quantize(torch.from_numpy(values[values > 0])).numpy()
    assert np.isin(got, integers).all()
    np.testing.assert_allclose(np.abs(exact - got), nearest, atol=1e-4)


@given(PROBABILITIES, BITS, STEPS, DELTAS)
def test_integers_stand_for_the_fake_quantized_values(values, bits, steps, delta):
    quantizer = LogQuantizer(bits, steps, torch.tensor(delta))
    x = torch.from_numpy(values)
    q = quantizer.quantize(x)
    exact = np.where(q.numpy() == 2**bits, 0, delta * 2 ** (-q.numpy().astype(np.float64) / steps))
    np.testing.assert_allclose(quantizer.dequantize(q).numpy(), exact, rtol=1e-5, atol=1e-37)
    assert torch.equal(quantizer.dequantize(q), quantizer.fake_quantize(x))


@given(st.integers(2, 6), STEPS, DELTAS)
def test_every_integer_is_its_own_value(bits, steps, delta):
    quantizer = LogQuantizer(bits, steps, torch.tensor(delta))
    q = torch.arange(2.0**bits + 1)
    assert torch.equal(quantizer.quantize(quantizer.dequantize(q)), q)


def test_hand_worked_log2():
    quantizer = LogQuantizer(bits=4, steps_per_octave=1, delta=torch.tensor(1.0))
    x = torch.tensor([1.5, 1.0, 0.75, 0.7, 0.3, 2**-15, 2**-15.4, 2**-15.6, 2**-16, 0.0])
    assert quantizer.quantize(x).tolist() == [0, 0, 0, 1, 2, 15, 15, 16, 16, 16]
    assert quantizer.fake_quantize(x).tolist() == [1, 1, 1, 0.5, 0.25, 2**-15, 2**-15, 0, 0, 0]


def test_hand_worked_log_sqrt2():
    quantizer = LogQuantizer(bits=3, steps_per_octave=2, delta=torch.tensor(0.5))
    x = torch.tensor([0.9, 0.5, 0.4, 0.25, 0.1, 0.04, 0.03, 0.0])  # -2 log2(x / 0.5) is 0.64 for 0.4, 4.64 for 0.1, 7.29, 8.12
    assert quantizer.quantize(x).tolist() == [0, 0, 1, 2, 5, 7, 8, 8]
    expected = torch.tensor([0.5, 0.5, 0.353553, 0.25, 0.0883883, 0.0441942, 0, 0])
    torch.testing.assert_close(quantizer.fake_quantize(x), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("steps", [1, 2])
def test_zeros_and_what_is_below_are_exactly_zero(steps):
    x = torch.tensor([0.0, -0.0, -0.3, 1e-45])
    assert torch.equal(LogQuantizer(4, steps, torch.tensor(1.0)).fake_quantize(x), torch.zeros(4))


@pytest.mark.parametrize("steps", [0, 3])
def test_other_bases_are_refused(steps):
    with pytest.raises(ValueError, match="steps per octave must be 1 or 2"):
        LogQuantizer(4, steps, torch.tensor(1.0))
