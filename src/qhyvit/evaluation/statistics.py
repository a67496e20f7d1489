"""Confidence intervals of accuracies, and tests of their differences."""

from math import hypot, sqrt
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported at their first use: stats takes a second, which most tables and figures do not need

CONFIDENCE = 0.95
RESAMPLES = 9999
SMALLEST_VARIANCE = 1e-100  # of equal values; quotients of smaller numbers may be rounded to 0


class Estimate(NamedTuple):
    """Value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def unseen(images: int) -> float:
    """Return the share of images, in percent, that may differ though none of so many ``images`` does: the 95 % bound, about 300 / N.

    It is the rule of three (Hanley and Lippman-Hand, Journal of the American Medical Association 249 (1983) 1743). Resamples of images
    without a difference have none either, so intervals of differences are not narrower than this.
    """
    return 100 * float(1 - (1 - CONFIDENCE) ** (1 / images))


def drop_interval(reference: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """Return the paired-bootstrap interval (95 %, percentile) of the accuracy drop in points, with at least `unseen` to both sides.

    ``reference`` and ``correct`` are bool [N], for the same images. An image is lost, gained or neither, so that resampling images is
    drawing the number of each.
    """
    lost, gained = int((reference & ~correct).sum()), int((~reference & correct).sum())
    shares = np.array([lost, gained, len(correct) - lost - gained]) / len(correct)
    resamples = np.random.default_rng(0).multinomial(len(correct), shares, size=RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(100 * (resamples[:, 0] - resamples[:, 1]) / len(correct), [tail, 1 - tail])
    drop, margin = 100 * (lost - gained) / len(correct), unseen(len(correct))
    return min(float(low), drop - margin), max(float(high), drop + margin)


def crossed_mean(values: np.ndarray) -> tuple[Estimate, float]:
    """Return the mean of ``values`` [D, N] in points with its interval (95 %), and the two-sided p-value of a mean of zero.

    Rows are draws of the calibration images, columns evaluation images, and both could have been others: a value is the mean plus random
    effects of its image, of its draw, and of both together. The variance of the mean follows from the mean squares of this model:
    (images + draws - rest) / DN, but at least images / DN and draws / DN. With one draw it is images / DN. The interval is Student's t, not
    narrower than `unseen`, and a standard error that is narrower is widened likewise for the p-value. The degrees of freedom are the
    harmonic mean of D - 1 and N - 1, weighted by the shares of draws and images in the variance.

    Simulated intervals of three or more draws cover 94 to 98 % where draws matter, and up to 99 % where they do not; of two draws, 91 %.
    Satterthwaite's degrees of freedom (Biometrics Bulletin 2 (1946) 110), which square the shares, fall to 92 % at three draws. Resampling
    rows and columns (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007) 386) falls further: three draws, resampled, vary
    by two thirds of their variance.
    """
    draws, images = values.shape
    of_images, of_draws, rest = _mean_squares(values)
    variance = max(of_images + of_draws - rest, of_images, of_draws, SMALLEST_VARIANCE)
    share = of_draws / variance
    freedom = 1 / ((1 - share) / (images - 1) + share / max(draws - 1, 1))
    mean, quantile = float(values.mean()), scipy.stats.t.isf((1 - CONFIDENCE) / 2, freedom)
    error = max(sqrt(variance / (draws * images)), unseen(images) / quantile)
    half_width = quantile * error
    return Estimate(mean, mean - half_width, mean + half_width), float(2 * scipy.stats.t.sf(abs(mean) / error, freedom))


def _mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares of images, draws and the rest of ``values`` [D, N]; one draw has only the first."""
    draws, images = values.shape
    of_image, of_draw = values.mean(axis=0), values.mean(axis=1, keepdims=True)
    of_images = float(draws * of_image.var(ddof=1))
    if draws == 1:
        return of_images, 0.0, 0.0
    rest = ((values - of_image - of_draw + values.mean()) ** 2).sum() / ((draws - 1) * (images - 1))
    return of_images, float(images * of_draw.var(ddof=1)), float(rest)


def wilson_interval(hits: int, images: int) -> tuple[float, float]:
    """Return the Wilson interval (95 %) of an accuracy in percent, from the number of ``hits`` among so many ``images``."""
    interval = scipy.stats.binomtest(hits, images).proportion_ci(CONFIDENCE, method="wilson")
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
