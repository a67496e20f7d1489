"""How sure an accuracy is: intervals from scipy."""

import numpy as np
from scipy.stats import binomtest, bootstrap

CONFIDENCE = 0.95
RESAMPLES = 9999


def drop_interval(reference: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """The paired-bootstrap interval (95 %, percentile) of the accuracy drop in points, from the hits bool [N] of both networks."""
    differences = reference.astype(float) - correct.astype(float)
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=1000,
    ).confidence_interval
    return 100 * float(interval.low), 100 * float(interval.high)


def accuracy_interval(correct: np.ndarray) -> tuple[float, float]:
    """The Wilson interval (95 %) of an accuracy in percent, from the hits bool [N]."""
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(CONFIDENCE, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)
