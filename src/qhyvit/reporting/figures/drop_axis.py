"""Axis of drops of top-1: linear near 0 and logarithmic beyond, so that small drops show next to collapsed networks."""

import pandas as pd
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import NullLocator

from qhyvit.reporting.figures.ticks import SpacedLocator

LINEAR = 2  # points of drop; beyond, the axis is logarithmic
LARGEST = 100
TICKS = (0, 10, 1, LARGEST, 3, 30)  # where room is short, the first ones have it


def scale_drops(axis: Axis, marks: tuple[float, float], bars: tuple[float, float]) -> None:
    """Make ``axis`` one of drops, with ticks on both sides of the least and the greatest of the ``marks``, and room for their ``bars``."""
    across = isinstance(axis, XAxis)
    (axis.axes.set_xscale if across else axis.axes.set_yscale)("symlog", linthresh=LINEAR)
    axis.set_major_locator(SpacedLocator(axis, [sign * tick for tick in TICKS for sign in (1, -1)], gap=3))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    limits = -_limit(-marks[0], -bars[0], 1), _limit(marks[1], bars[1], LINEAR)
    (axis.axes.set_xlim if across else axis.axes.set_ylim)(*limits)


def drop_limits(cells: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the extremes of the drops of ``cells`` and those of their intervals, as `scale_drops` takes them."""
    return (cells["drop"].min(), cells["drop"].max()), (cells.drop_low.min(), cells.drop_high.max())


def drop_label(images: float, separator: str = " ") -> str:
    """Return the label of an axis of drops on so many evaluation ``images``."""
    return f"drop of top-1 on {images:,.0f} images{separator}(points; linear up to {LINEAR}, then logarithmic)"


def _limit(mark: float, bar: float, least: float) -> float:
    """Return a limit beyond the ends of a ``mark`` and its ``bar``, and beyond the tick that follows the ``mark``."""
    tick = next((tick for tick in sorted(TICKS) if tick >= max(mark, least)), LARGEST)
    return max(1.1 * tick, 1.3 * mark, 1.1 * bar)
