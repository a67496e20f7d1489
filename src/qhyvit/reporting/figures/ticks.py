"""Ticks whose labels do not touch."""

from collections.abc import Iterable
from math import floor, log10

import pandas as pd
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Locator, NullLocator

LETTER = 5, 9  # width and height of a letter of a label, in points
ROUND = (1, 2, 5, 3, 7, 1.5, 4, 2.5, 6, 8, 1.2, 9)  # the first digits of ticks, the roundest numbers first
MARGIN = 1.3  # by which a logarithmic axis goes beyond its marks


def scale_logarithmic(axis: XAxis, values: "pd.Series[float]") -> None:
    """Make an x-axis logarithmic around its positive ``values``, with as many round numbers as have room."""
    low, high = values.min() / MARGIN, values.max() * MARGIN
    axis.axes.set_xscale("log")
    powers = range(floor(log10(low)), floor(log10(high)) + 1)
    axis.set_major_locator(SpacedLocator(axis, [float(f"{digits}e{power}") for digits in ROUND for power in powers], gap=14))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    axis.axes.set_xlim(low, high)


class SpacedLocator(Locator):
    """Place ticks of ``axis`` at those of ``values`` that are in view and leave room for ``gap`` points between their labels.

    Where room is short, the first values have it.
    """

    def __init__(self, axis: Axis, values: Iterable[float], gap: float) -> None:
        self._axis, self._values, self._gap = axis, list(values), gap

    def __call__(self) -> list[float]:
        """Return the ticks between the limits of the axis."""
        return self.tick_values(*self._axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks from ``vmin`` to ``vmax``, as far apart as those limits put them."""
        seen = [value for value in self._values if min(vmin, vmax) <= value <= max(vmin, vmax)]
        start, end, *places = self._axis.get_transform().transform([vmin, vmax, *seen])
        scale = self._length() / (end - start)
        chosen: dict[float, float] = {}
        for value, place in zip(seen, places, strict=True):
            if all(abs(place - other) * scale >= self._room(value, before) for before, other in chosen.items()):
                chosen[value] = place
        return sorted(chosen)

    def _length(self) -> float:
        """Return the length of the axis, in points."""
        box = self._axis.axes.get_window_extent()
        pixels = box.width if isinstance(self._axis, XAxis) else box.height
        return 72 * pixels / self._axis.axes.figure.dpi

    def _room(self, *values: float) -> float:
        """Return the least distance of the ticks of two ``values``, in points."""
        width, height = LETTER
        along = width * sum(len(f"{value:g}") for value in values) / 2 if isinstance(self._axis, XAxis) else height
        return along + self._gap
