"""Ticks whose labels do not touch."""

from collections.abc import Iterable

from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Locator

LETTER = 5, 9  # width and height of a letter of a label, in points


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
