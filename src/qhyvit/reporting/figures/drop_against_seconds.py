"""Drop against running time."""

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.drop_axis import drop_label, scale_drops
from qhyvit.reporting.figures.style import STYLE, add_legend, legend_height, method_styles, panel_grid
from qhyvit.reporting.figures.ticks import scale_logarithmic
from qhyvit.reporting.read import read_table
from qhyvit.reporting.runs import CELL, bit_widths, bits_shown, quantized_runs, read_results, seed_means
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv and timings.csv."""
    return timing_figure(read_results(sources.one("results")), read_table(sources.one("timings")), sources.mode, sources.methods)


def timing_figure(results: pd.DataFrame, timings: pd.DataFrame, mode: str, methods: MethodCatalog) -> Figure:
    """Draw the drop of top-1 against calibration and quantization time in ``mode``: one panel per bit-width.

    Large marks are the means of methods over networks, small marks the networks. ``timings`` is the table of
    `qhyvit.reporting.tables.timings`; runs whose time is not known have no mark.
    """
    runs = quantized_runs(results, mode)
    timed = seed_means(runs).merge(timings, on=CELL)
    rows = timed.assign(bits=bits_shown(timed), seconds=timed.calibrate + timed.quantize)
    bits, styles = bit_widths(rows), method_styles(rows.method, methods)
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(
            len(bits), columns=2, height=2.6, above=0.5 + legend_height([methods.label(name) for name in styles]), shared=True
        )
        for axes, width in zip(panels, bits, strict=True):
            for method, style in styles.items():
                networks = rows[(rows.bits == width) & (rows.method == method) & rows.seconds.notna()]
                small, large = _mark(style, 0.8) | {"markeredgewidth": 0.4, "label": "_nolegend_"}, _mark(style, 1.5)
                axes.plot(networks.seconds, networks["drop"], **small, zorder=2)
                axes.plot(networks.seconds.mean(), networks["drop"].mean(), **large, zorder=3)
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set_title(width, loc="left")
        if rows.seconds.notna().any():  # a logarithmic axis without data cannot be saved
            scale_logarithmic(panels[0].xaxis, rows.seconds)
        extremes = rows["drop"].min(), rows["drop"].max()
        scale_drops(panels[0].yaxis, marks=extremes, bars=extremes)
        figure.supxlabel("calibration and quantization (seconds)")
        for axes in panels[::2]:
            axes.set_ylabel(drop_label(runs.images.max(), "\n"))
        add_legend(figure, panels[0])
    return figure


def _mark(style: dict[str, Any], size: float) -> dict[str, Any]:
    """Return a mark of ``size`` times that of its style, which does not hide marks below it."""
    filled = style["markerfacecolor"] != "white"
    seen_through = {"alpha": 0.8} if filled else {"markerfacecolor": "none"}
    return style | {"markersize": size * style["markersize"], "linestyle": "none"} | seen_through
