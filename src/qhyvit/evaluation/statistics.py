"""Confidence intervals of accuracies, and tests of their differences."""

from math import hypot
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported at their first use: stats takes a second, which most tables and figures do not need

CONFIDENCE = 0.95
RESAMPLES = 9999


class Estimate(NamedTuple):
    """Value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def drop_interval(reference: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """Return the paired-bootstrap interval (95 %, percentile) of the accuracy drop in points.

    ``reference`` and ``correct`` are bool [N], for the same images. An image is lost, gained or neither, so that resampling images is
    drawing the number of each.
    """
    lost, gained = int((reference & ~correct).sum()), int((~reference & correct).sum())
    shares = np.array([lost, gained, len(correct) - lost - gained]) / len(correct)
    resamples = np.random.default_rng(0).multinomial(len(correct), shares, size=RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(100 * (resamples[:, 0] - resamples[:, 1]) / len(correct), [tail, 1 - tail])
    return float(low), float(high)


def accuracy_interval(correct: np.ndarray) -> tuple[float, float]:
    """Return the Wilson interval (95 %) of an accuracy in percent, from ``correct`` bool [N]."""
    interval = scipy.stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(CONFIDENCE, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """Return the two-sided p-value of McNemar's exact test that two networks are equally accurate, for bool [N] on the same images."""
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    return 1.0 if lost == gained else float(scipy.stats.binomtest(gained, lost + gained).pvalue)


def difference(before: Estimate, after: Estimate) -> tuple[float, float, float]:
    """Return the interval (95 %) of ``after - before`` and the two-sided p-value of no difference, from estimates on different images.

    Distances to the ends of both intervals add up as squares (Newcombe, Statistics in Medicine 17 (1998) 873, for accuracies; Zou and
    Donner, Statistics in Medicine 27 (2008) 1693, for any estimates). The p-value takes them as normal. On the same images the true
    interval is narrower, as long as images that are hard for one network are hard for the other.
    """
    change = after.value - before.value
    low = change - hypot(after.value - after.low, before.high - before.value)
    high = change + hypot(after.high - after.value, before.value - before.low)
    towards_zero = change - low if change > 0 else high - change
    deviations = scipy.stats.norm.isf((1 - CONFIDENCE) / 2) * abs(change) / max(towards_zero, np.finfo(float).tiny)
    return low, high, float(2 * scipy.stats.norm.sf(deviations))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm's adjusted p-values [M]: if all below a level are rejected, any is wrongly rejected with at most that probability.

    Scandinavian Journal of Statistics 6 (1979) 65; the tests may depend on each other in any way.
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    return adjusted
