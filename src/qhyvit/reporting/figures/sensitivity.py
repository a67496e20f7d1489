"""The figure of what single sites cost."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.figures.style import COLOURS, PAGE, STYLE

SITES = 20  # as many as a page shows
PANELS = {"alone_kl": "this site alone quantized", "without_kl": "all quantized but this site"}


def sensitivity_figure(sensitivity: pd.DataFrame, title: str) -> Figure:
    """The sites that cost most when they alone are quantized, the worst at the top, beside what is left when they alone are not.

    ``sensitivity`` has the columns of `qhyvit.analysis.sensitivity`.
    """
    worst = sensitivity.nlargest(SITES, "alone_kl")[::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 1.1 + 0.16 * len(worst)), layout="constrained")
        for axes, (column, label), colour in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), COLOURS, strict=False):
            axes.barh(worst.site, worst[column], color=colour)
            axes.set_title(label, loc="left")
            axes.set_xlabel("KL divergence from FP32 (nats)")
            axes.grid(visible=False, axis="y")
        figure.suptitle(title)
    return figure
