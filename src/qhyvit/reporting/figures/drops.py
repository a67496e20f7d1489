"""Drop of each method, with its interval."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.averaged import read_averaged
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.drop_axis import drop_label, drop_limits, scale_drops
from qhyvit.reporting.figures.line_panels import method_panels
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, network_styles
from qhyvit.reporting.runs import quantized_runs
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv and correct.csv."""
    return drop_figure(read_averaged(sources), sources.mode, sources.methods)


def drop_figure(averaged: pd.DataFrame, mode: str, methods: MethodCatalog) -> Figure:
    """Draw the drop of top-1 in ``mode``: one panel per bit-width, one line per method, one mark per network with its interval.

    ``averaged`` has one row per cell, with the columns of `qhyvit.reporting.averaged`.
    """
    shown = quantized_runs(averaged, mode)
    order, networks = methods.order(shown.method), network_styles(shown)
    with mpl.rc_context(STYLE):
        figure, panels = method_panels(shown, methods)
        for axes, width in panels.items():
            for shift, (network, style) in zip(dodge(len(networks)), networks.items(), strict=True):
                cell = shown[(shown.bits == width) & (shown.model == network)].set_index("method").reindex(order)
                bars = error_bars(cell.drop_low, cell["drop"], cell.drop_high)
                axes.errorbar(cell["drop"], np.arange(len(order)) + shift, xerr=bars, **style, linestyle="none", elinewidth=0.8)
            scale_drops(axes.xaxis, *drop_limits(shown))
            axes.axvline(0, color="black", linewidth=0.8)
        figure.supxlabel(drop_label(shown.images.max()))
        add_legend(figure, next(iter(panels)))
    return figure
