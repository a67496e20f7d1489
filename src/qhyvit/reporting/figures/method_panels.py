"""The frame of figures that set methods against each other: a panel a bit-width, a line a method."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.reporting.cells import bit_widths
from qhyvit.reporting.figures.style import PAGE


def method_panels(shown: pd.DataFrame) -> tuple[Figure, dict[Axes, str]]:
    """A panel for each bit-width of ``shown``, side by side, whose lines are the methods, with room for a mark of each network."""
    bits, methods, networks = bit_widths(shown), sorted(shown.method.unique()), shown.model.nunique()
    line = np.clip(0.07 * networks, 0.2, 0.6)
    figure = Figure(figsize=(PAGE, 1.4 + line * len(methods)), layout="constrained")
    panels = list(figure.subplots(1, len(bits), squeeze=False, sharey=True)[0])
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    for axes, width in zip(panels, bits, strict=True):
        axes.set_title(width, loc="left")
        axes.grid(visible=False, axis="y")
        for boundary in range(1, len(methods)):
            axes.axhline(boundary - 0.5, color="0.8", linewidth=0.8)
    return figure, dict(zip(panels, bits, strict=True))
