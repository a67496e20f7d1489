import numpy as np
import pytest
import torch

from qhyvit.calibration.ranges import extremes, observe


def observe_all(batches, axis):
    """The range of all batches, one after the other."""
    found = None
    for batch in batches:
        found = observe(batch, axis, len(batches), found)
    return found


@pytest.mark.parametrize("size", [10, 12])  # of a batch: four alike, or a smaller last one
@pytest.mark.parametrize("percent", [99.9, 99.95, 99.99, 100])
def test_percentiles_over_batches_equal_numpys_over_everything(percent, size):
    x = torch.randn(40, 3, 20, 20) ** 3
    found = observe_all(x.split(size), 1)
    low, high = found.percentile(percent)
    expected = np.percentile(x.numpy().astype(np.float64), [100 - percent, percent])
    np.testing.assert_allclose([float(low), float(high)], expected, rtol=1e-5)


def test_extremes_lie_in_one_batch():
    x = torch.randn(4, 1000)
    x[0] += 100
    found = observe_all(x.split(1), None)
    assert float(found.percentile(99.9)[1]) == pytest.approx(np.percentile(x.numpy(), 99.9), rel=1e-6)


def test_channel_extremes():
    x = torch.randn(4, 3, 5, 5)
    found = observe_all(x.split(2), 1)
    assert torch.equal(found.low, x.amin((0, 2, 3)))
    assert torch.equal(found.high, x.amax((0, 2, 3)))


def test_percentiles_that_the_tails_do_not_hold_are_refused():
    with pytest.raises(ValueError, match="percentile 99"):
        observe(torch.randn(100000), None, 1).percentile(99)


@pytest.mark.parametrize("count", [1, 7, 100, 1000])
@pytest.mark.parametrize("length", [1000, 4096, 5003])
def test_the_most_extreme_values_are_those_of_a_sort(length, count):
    x = torch.randn(length).round(decimals=1)  # with many equals
    for largest, step in ((True, -1), (False, 1)):
        found = extremes(x, count, largest=largest)
        np.testing.assert_array_equal(np.sort(found.numpy())[::step], np.sort(x.numpy())[::step][:count])
