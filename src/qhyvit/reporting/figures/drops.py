"""The figure of what each method costs, with how sure that is."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.reporting.cells import cells
from qhyvit.reporting.figures.method_panels import method_panels
from qhyvit.reporting.figures.style import DROP, LINEAR, STYLE, add_legend, dodge, error_bars, marker_styles, tick_drops


def drop_figure(results: pd.DataFrame, mode: str) -> Figure:
    """The drop of top-1 in ``mode``: a panel a bit-width, a line a method, a mark a network with the 95 % paired interval of its drop.

    ``results`` is results.csv; several seeds are averaged.
    """
    shown = cells(results, mode)
    with mpl.rc_context(STYLE):
        figure, panels = method_panels(shown)
        for axes, width in panels.items():
            _draw_drops(axes, shown[shown.bits == width], shown)
            axes.set_xscale("symlog", linthresh=LINEAR)
            tick_drops(axes.xaxis)
            axes.set_xlim(min(-1, 1.1 * shown.drop_low.min()), 100)
            axes.axvline(0, color="black", linewidth=0.8)
        figure.supxlabel(DROP)
        add_legend(figure, next(iter(panels)))
    return figure


def _draw_drops(axes: Axes, rows: pd.DataFrame, shown: pd.DataFrame) -> None:
    methods, networks = sorted(shown.method.unique()), list(shown.model.unique())
    for shift, (network, look) in zip(dodge(len(networks)), marker_styles(networks).items(), strict=True):
        cell = rows[rows.model == network].set_index("method").reindex(methods)
        bars = error_bars(cell.drop_low, cell["drop"], cell.drop_high)
        axes.errorbar(cell["drop"], np.arange(len(methods)) + shift, xerr=bars, **look, linestyle="none", elinewidth=0.8, label=network)
