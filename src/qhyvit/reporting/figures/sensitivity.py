"""Cost of single sites."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.figures.style import COLOURS, PAGE, STYLE
from qhyvit.reporting.figures.ticks import scale_logarithmic
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources

SITES = 20  # as many as one page shows
PANELS = {"alone_kl": "only this site quantized", "without_kl": "all quantized except this site"}


def make(sources: Sources) -> Figure:
    """Make the figure from an output of `qhyvit sensitivity`."""
    return sensitivity_figure(read_table(sources.one("sensitivity")), sources.title)


def sensitivity_figure(sensitivity: pd.DataFrame, title: str) -> Figure:
    """Draw the sites that cost most when they alone are quantized, the worst at the top, next to the cost of all others without them.

    ``sensitivity`` has the columns of `qhyvit.analysis.sensitivity`. The line is the cost of all sites.
    Both axes are logarithmic; a divergence of 0 has no mark.
    """
    worst = sensitivity.nlargest(SITES, "alone_kl")[::-1]
    positive = worst[[*PANELS, "all_kl"]].where(lambda divergences: divergences > 0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 1.1 + 0.16 * len(worst)), layout="constrained")
        for axes, (column, label), colour in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), COLOURS, strict=False):
            axes.plot(positive[column], worst.site, color=colour, marker="o", markersize=4, linestyle="none")
            shown = positive[column].dropna()
            if column == "without_kl":
                axes.axvline(positive.all_kl.iloc[0], color="black", linewidth=0.8, zorder=1)
                shown = pd.concat([shown, positive.all_kl.dropna()])
            if len(shown):  # a logarithmic axis without data cannot be saved
                scale_logarithmic(axes.xaxis, shown)
            axes.set_title(label, loc="left")
            axes.set_xlabel("KL divergence from FP32 (nats)")
        figure.suptitle(title)
    return figure
