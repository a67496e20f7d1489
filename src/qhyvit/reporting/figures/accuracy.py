"""Accuracy by bit-width and method."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.reporting.averaged import read_averaged
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, legend_height, method_styles, panel_grid
from qhyvit.reporting.runs import bit_widths, quantized_runs
from qhyvit.reporting.sources import Sources

MARKS = 90  # marks in one line of panels that can be told apart
COLUMNS = 3  # panels in one line, if there is room for their marks
MARGIN = 0.05  # of the axis, above and below all marks: half a marker takes 0.04 of it


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv and correct.csv."""
    return accuracy_figure(read_averaged(sources), sources.mode, sources.methods)


def accuracy_figure(averaged: pd.DataFrame, mode: str, methods: MethodCatalog) -> Figure:
    """Draw top-1 by bit-width in ``mode``: one panel per network, by family, with one mark per method.

    ``averaged`` has one row per cell, with the columns of `qhyvit.reporting.averaged`. The dashed line is FP32; bars span the 95 % interval
    of the drop.
    """
    shown = quantized_runs(averaged, mode)
    bits, styles = bit_widths(shown), method_styles(shown.method, methods)
    labels = [methods.label(name) for name in styles]
    networks = list(shown.groupby(["family", "model"]))
    columns = max(1, min(COLUMNS, MARKS // (len(bits) * len(styles))))
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(len(networks), columns, height=1.6, above=legend_height(["FP32", *labels]), shared=True)
        for axes, ((family, model), rows) in zip(panels, networks, strict=True):
            axes.axhline(rows.top1_fp32.iloc[0], color="black", linestyle="--", linewidth=0.8, label="FP32")
            for shift, (method, style) in zip(dodge(len(styles)), styles.items(), strict=True):
                cell = rows[rows.method == method].set_index("bits").reindex(bits)
                bars = error_bars(cell.top1_fp32 - cell.drop_high, cell.top1, cell.top1_fp32 - cell.drop_low)
                axes.errorbar(np.arange(len(bits)) + shift, cell.top1, yerr=bars, **style, linestyle="none", elinewidth=0.8)
            _label(axes, bits, f"{family}: {model}")
        panels[0].set_ylim(*_limits(shown))
        figure.supylabel(f"top-1 accuracy (%) on {int(shown.images.iloc[0]):,} images")
        add_legend(figure, panels[0])
    return figure


def _label(axes: Axes, bits: list[str], title: str) -> None:
    for boundary in range(1, len(bits)):
        axes.axvline(boundary - 0.5, color="0.8", linewidth=0.8)
    axes.set_xticks(range(len(bits)), bits)
    axes.set_xlim(-0.5, len(bits) - 0.5)
    axes.grid(visible=False, axis="x")
    axes.set_title(title, loc="left", fontsize=7)
    axes.tick_params(labelbottom=True)


def _limits(shown: pd.DataFrame) -> tuple[float, float]:
    """Return tens that contain all marks and their bars, with MARGIN above and below them."""
    low = (shown.top1_fp32 - shown.drop_high).min()
    high = max((shown.top1_fp32 - shown.drop_low).max(), shown.top1_fp32.max())
    tens = 10 * np.floor(low / 10), 10 * np.ceil(high / 10)
    margin = MARGIN * (tens[1] - tens[0])
    return min(tens[0], low - margin), max(tens[1], high + margin)
