import numpy as np
import pytest
from conftest import REPOSITORY
from scipy.stats import bootstrap

from qhyvit.evaluation.statistics import drop_interval, unseen, wilson_interval
from qhyvit.reporting import captions


def test_the_paired_interval_agrees_with_the_normal_approximation():
    generator = np.random.default_rng(0)
    reference = generator.random(2000) < 0.9
    correct = np.where(generator.random(2000) < 0.05, ~reference, reference)
    differences = reference.astype(float) - correct
    half_width = 1.96 * differences.std() / np.sqrt(2000)
    low, high = drop_interval(reference, correct)
    assert low == pytest.approx(100 * (differences.mean() - half_width), abs=0.1)
    assert high == pytest.approx(100 * (differences.mean() + half_width), abs=0.1)


def test_the_paired_interval_is_that_of_a_bootstrap_over_images():
    generator = np.random.default_rng(1)
    reference, correct = generator.random(400) < 0.8, generator.random(400) < 0.7
    differences = reference.astype(float) - correct
    expected = bootstrap((differences,), np.mean, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert drop_interval(reference, correct) == pytest.approx((100 * expected.low, 100 * expected.high), abs=0.3)  # an image is 0.25


def test_unseen_share_of_2000_images_is_the_rule_of_three():
    assert unseen(2000) == pytest.approx(0.15, abs=0.001)
    assert (1 - unseen(2000) / 100) ** 2000 == pytest.approx(0.05)  # so rarely would such a share of images show no difference


@pytest.mark.parametrize(
    "text", [captions.PAIRED, captions.ABLATION, captions.DEPLOYMENT_PAIRED, (REPOSITORY / "reports/README.md").read_text()]
)
@pytest.mark.parametrize("images", [1, 24, 2000])
def test_texts_state_the_formula_of_the_unseen_share(text, images):
    assert "100 (1 - 0.05^(1/N))" in text
    assert unseen(images) == pytest.approx(100 * (1 - 0.05 ** (1 / images)))


def test_interval_of_equal_predictions_is_what_their_number_cannot_exclude():
    hits = np.arange(2000) % 3 == 0
    assert drop_interval(hits, hits) == pytest.approx((-0.15, 0.15), abs=0.001)


def test_interval_of_the_same_predictions_repeats():
    hits = np.arange(100) % 3 == 0
    other = np.arange(100) % 4 == 0
    assert drop_interval(hits, other) == drop_interval(hits, other)


def test_wilson_interval_of_a_published_example():
    # Newcombe, Statistics in Medicine 17 (1998), Table I: 81 of 263 gives 0.2553 to 0.3662.
    low, high = wilson_interval(81, 263)
    assert (low, high) == pytest.approx((25.53, 36.62), abs=0.005)
