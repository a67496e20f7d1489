"""Drop after each step of the search."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.errors import InputError
from qhyvit.reporting.averaged import read_averaged
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.drop_axis import drop_label, drop_limits, scale_drops
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, network_styles, panel_grid
from qhyvit.reporting.runs import bit_widths, quantized_runs
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv and correct.csv."""
    return ablation_figure(read_averaged(sources), sources.mode, sources.methods)


def ablation_figure(averaged: pd.DataFrame, mode: str, methods: MethodCatalog) -> Figure:
    """Draw the drop of top-1 after each step of the ablation in ``mode``: one panel per bit-width, one line per network.

    ``averaged`` has one row per cell, with the columns of `qhyvit.reporting.averaged`; bars are the intervals. Raises InputError if it
    lacks a step.
    """
    steps = methods.steps
    rows = quantized_runs(averaged, mode)
    rows = rows[rows.method.isin(steps)]
    if missing := [name for name in steps if name not in set(rows.method)]:
        raise InputError(f"results.csv: no run of {', '.join(missing)} in mode {mode!r}; the ablation needs them: run these methods too")
    bits = bit_widths(rows)
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(len(bits), columns=2, height=2.3, above=0.7, shared=False)
        for axes, width in zip(panels, bits, strict=True):
            cells = rows[rows.bits == width]
            _draw_steps(axes, cells, list(steps))
            scale_drops(axes.yaxis, *drop_limits(cells))
            axes.set_xticks(range(len(steps)), list(steps.values()), rotation=25, ha="right", rotation_mode="anchor")
            axes.set_title(width, loc="left")
        figure.supylabel(drop_label(rows.images.max(), "\n"))
        add_legend(figure, panels[0])
    return figure


def _draw_steps(axes: Axes, rows: pd.DataFrame, steps: list[str]) -> None:
    styles = network_styles(rows)
    for shift, (network, style) in zip(dodge(len(styles), 0.3), styles.items(), strict=True):
        cell = rows[rows.model == network].set_index("method").reindex(steps)
        bars = error_bars(cell.drop_low, cell["drop"], cell.drop_high)
        axes.errorbar(np.arange(len(steps)) + shift, cell["drop"], yerr=bars, **style, linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.grid(visible=False, axis="x")
