"""Frame of figures with named lines, one below the other, in panels next to each other."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.style import PAGE
from qhyvit.reporting.runs import bit_widths


def line_panels(lines: Sequence[str], titles: Sequence[str], line: float) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, one per title, which share ``lines`` of so many inches; the first is at the top."""
    figure = Figure(figsize=(PAGE, 1.4 + line * len(lines)), layout="constrained")
    panels = list(figure.subplots(1, len(titles), squeeze=False, sharey=True)[0])
    panels[0].set_yticks(range(len(lines)), lines)
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left")
        axes.grid(visible=False, axis="y")
        for boundary in range(1, len(lines)):
            axes.axhline(boundary - 0.5, color="0.8", linewidth=0.8)
    return figure, panels


def method_panels(shown: pd.DataFrame, methods: MethodCatalog) -> tuple[Figure, dict[Axes, str]]:
    """Return a figure with a line per method, and its panels, one per bit-width of ``shown``; a line has room for a mark per network."""
    bits, order = bit_widths(shown), methods.order(shown.method)
    figure, panels = line_panels([methods.label(name) for name in order], bits, line=np.clip(0.07 * shown.model.nunique(), 0.2, 0.6))
    return figure, dict(zip(panels, bits, strict=True))
