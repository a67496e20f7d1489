"""Means over images and draws of the calibration images, against simulated experiments whose true mean is known."""

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from qhyvit.evaluation.statistics import crossed_mean, unseen

EXPERIMENTS = 1000
THRESHOLD = 1.64  # of the latent gain, in standard deviations: about 5 % of the images are gained, and as many are lost
SHIFT = 0.1
OF_IMAGE, OF_BOTH = 0.5, 0.8  # standard deviations of the latent gain


def simulated(draws, images, of_draw):
    """Yield gains [D, N] in points, one array per experiment. An image is gained or lost where its latent gain passes the threshold."""
    generator = np.random.default_rng(1)

    def effect(deviation, *shape):
        return deviation * generator.standard_normal(shape, dtype=np.float32)

    for _ in range(EXPERIMENTS):
        latent = SHIFT + effect(OF_IMAGE, 1, images) + effect(of_draw, draws, 1) + effect(OF_BOTH, draws, images)
        yield 100.0 * ((latent > THRESHOLD).astype(float) - (latent < -THRESHOLD))


def true_mean(of_draw):
    deviation = np.sqrt(OF_IMAGE**2 + of_draw**2 + OF_BOTH**2)
    return 100 * (norm.cdf((SHIFT - THRESHOLD) / deviation) - norm.cdf((-SHIFT - THRESHOLD) / deviation))


def coverage(interval, draws, images, of_draw):
    """Share of the experiments, in percent, whose interval has the true mean."""
    true = true_mean(of_draw)
    return 100 * np.mean([low <= true <= high for low, high in map(interval, simulated(draws, images, of_draw))])


def over_both(values):
    return crossed_mean(values)[0][1:]


def over_images(values):
    """The interval over images of the mean over draws, as if other draws had the same mean."""
    return crossed_mean(values.mean(axis=0, keepdims=True))[0][1:]


SIZES = [(3, 2000, 0.1), (3, 800, 0.3), (5, 2000, 0.1), (10, 1000, 0.1)]


@pytest.mark.parametrize(("draws", "images", "of_draw"), SIZES)
def test_interval_over_images_and_draws_covers_the_true_mean_in_95_percent(draws, images, of_draw):
    assert 93.5 <= coverage(over_both, draws, images, of_draw) <= 96.5


@pytest.mark.parametrize(("draws", "images", "of_draw"), SIZES[:2])
def test_interval_over_images_alone_misses_the_true_mean(draws, images, of_draw):
    assert coverage(over_images, draws, images, of_draw) < 70


def test_one_draw_is_tested_over_images():
    values = next(simulated(1, 500, 0.0))
    estimate, p = crossed_mean(values)
    expected = ttest_1samp(values[0], 0)
    assert estimate == pytest.approx((values.mean(), *expected.confidence_interval()))
    assert p == pytest.approx(expected.pvalue)


def test_draws_far_apart_leave_only_their_own_number():
    """Means of -1, 0 and 7 points: among many images with little of their own, the interval is that of three numbers."""
    generator = np.random.default_rng(0)
    values = np.array([[-1.0], [0.0], [7.0]]) + 0.1 * generator.standard_normal((3, 5000))
    estimate, p = crossed_mean(values)
    expected = ttest_1samp(values.mean(axis=1), 0)
    assert estimate == pytest.approx((2, *expected.confidence_interval()), abs=0.01)
    assert p == pytest.approx(expected.pvalue, abs=0.001)


def test_equal_draws_count_as_one():
    values = next(simulated(1, 500, 0.0))
    assert crossed_mean(np.repeat(values, 3, axis=0))[0] == pytest.approx(crossed_mean(values)[0])


def test_p_value_agrees_with_an_interval_that_is_as_wide_as_the_number_of_images_asks_for():
    values = np.zeros((3, 2000))
    values[[0, 0, 1, 1, 2, 2], range(6)] = 100.0
    estimate, p = crossed_mean(values)
    assert estimate == pytest.approx((0.1, 0.1 - unseen(2000), 0.1 + unseen(2000)))
    assert p > 0.05


def test_images_that_never_differ_leave_what_their_number_cannot_exclude():
    estimate, p = crossed_mean(np.zeros((3, 2000)))
    assert estimate == (0, -unseen(2000), unseen(2000))
    assert p == 1
