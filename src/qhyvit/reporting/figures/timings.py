"""The figure of accuracy against time."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from qhyvit.reporting.cells import bit_widths, cells
from qhyvit.reporting.figures.style import DROP, LINEAR, STYLE, add_legend, marker_styles, panel_grid, tick_drops


def timing_figure(results: pd.DataFrame, seconds: pd.DataFrame, mode: str) -> Figure:
    """The drop of top-1 against calibration and quantization time in ``mode``: a panel a bit-width, a large mark a method.

    It is the mean over networks, which are the small marks. ``results`` is results.csv, ``seconds`` what
    `qhyvit.reporting.tables.running_time.timings` returns; runs whose time is not known have no mark.
    """
    timed = cells(results, mode).merge(seconds[seconds["mode"] == mode], on=["model", "method", "w_bits", "a_bits"])
    rows = timed.assign(seconds=timed.calibrate + timed.quantize)
    bits = bit_widths(rows)
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(len(bits), columns=2, height=2.3, above=1, shared=True)
        for axes, width in zip(panels, bits, strict=True):
            _draw_methods(axes, rows[rows.bits == width], sorted(rows.method.unique()))
            axes.set_title(width, loc="left")
        if rows.seconds.notna().any():  # a logarithmic axis of nothing cannot be saved
            panels[0].set_xscale("log")
            panels[0].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panels[0].xaxis.set_major_formatter("{x:g}")
            panels[0].xaxis.set_minor_locator(NullLocator())
        panels[0].set_yscale("symlog", linthresh=LINEAR)
        tick_drops(panels[0].yaxis)
        panels[0].set_ylim(min(-1, 1.1 * rows["drop"].min()), 1.2 * max(LINEAR, rows["drop"].max()))
        figure.supxlabel("calibration and quantization (seconds)")
        figure.supylabel(DROP)
        add_legend(figure, panels[0])
    return figure


def _draw_methods(axes: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    for method, look in marker_styles(methods).items():
        networks = rows[rows.method == method]
        axes.plot(networks.seconds, networks["drop"], **look | {"markersize": 2, "alpha": 0.5}, linestyle="none")
        axes.plot(networks.seconds.mean(), networks["drop"].mean(), **look | {"markersize": 6}, linestyle="none", label=method)
    axes.axhline(0, color="black", linewidth=0.8)
