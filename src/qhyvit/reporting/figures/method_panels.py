"""Frame of figures that compare methods: one panel per bit-width, one line per method."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.style import PAGE
from qhyvit.reporting.runs import bit_widths


def method_panels(shown: pd.DataFrame, methods: MethodCatalog) -> tuple[Figure, dict[Axes, str]]:
    """Return a figure and its panels, one per bit-width of ``shown``, with room for one mark per network in each method's line."""
    bits, order, networks = bit_widths(shown), methods.order(shown.method), shown.model.nunique()
    line = np.clip(0.07 * networks, 0.2, 0.6)
    figure = Figure(figsize=(PAGE, 1.4 + line * len(order)), layout="constrained")
    panels = list(figure.subplots(1, len(bits), squeeze=False, sharey=True)[0])
    panels[0].set_yticks(range(len(order)), [methods.label(name) for name in order])
    panels[0].set_ylim(len(order) - 0.5, -0.5)
    for axes, width in zip(panels, bits, strict=True):
        axes.set_title(width, loc="left")
        axes.grid(visible=False, axis="y")
        for boundary in range(1, len(order)):
            axes.axhline(boundary - 0.5, color="0.8", linewidth=0.8)
    return figure, dict(zip(panels, bits, strict=True))
