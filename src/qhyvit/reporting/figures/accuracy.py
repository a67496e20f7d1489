"""The figure of accuracy against bit-width."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.reporting.cells import bit_widths, cells
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, marker_styles, panel_grid

MARKS = 90  # as many can be told apart beside one another on a page
COLUMNS = 3  # panels beside one another, where that many marks have the room


def accuracy_figure(results: pd.DataFrame, mode: str) -> Figure:
    """Top-1 by bit-width in ``mode``: a panel a network, by family, with a mark a method.

    ``results`` is results.csv. The dashed line is FP32; bars span the 95 % paired interval of the drop, and several seeds are averaged.
    """
    shown = cells(results, mode)
    bits, methods = bit_widths(shown), sorted(shown.method.unique())
    networks = list(shown.groupby(["family", "model"]))
    columns = max(1, min(COLUMNS, MARKS // (len(bits) * len(methods))))
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(len(networks), columns, height=1.6, above=0.7, shared=True)
        for axes, ((family, model), rows) in zip(panels, networks, strict=True):
            _draw_network(axes, rows, bits, methods)
            axes.set_title(f"{family}: {model}", loc="left", fontsize=7)
            axes.tick_params(labelbottom=True)
        panels[0].set_ylim(*_limits(shown))
        figure.supylabel(f"top-1 accuracy (%) on {int(shown.images.iloc[0]):,} images")
        add_legend(figure, panels[0])
    return figure


def _draw_network(axes: Axes, rows: pd.DataFrame, bits: list[str], methods: list[str]) -> None:
    axes.axhline(rows.top1_fp32.iloc[0], color="black", linestyle="--", linewidth=0.8, label="FP32")
    for shift, (method, look) in zip(dodge(len(methods)), marker_styles(methods).items(), strict=True):
        cell = rows[rows.method == method].set_index("bits").reindex(bits)
        low, high = cell.top1_fp32 - cell.drop_high, cell.top1_fp32 - cell.drop_low
        bars = error_bars(low, cell.top1, high)
        axes.errorbar(np.arange(len(bits)) + shift, cell.top1, yerr=bars, **look, linestyle="none", elinewidth=0.8, label=method)
    for boundary in range(1, len(bits)):
        axes.axvline(boundary - 0.5, color="0.8", linewidth=0.8)
    axes.set_xticks(range(len(bits)), bits)
    axes.set_xlim(-0.5, len(bits) - 0.5)
    axes.grid(visible=False, axis="x")


def _limits(shown: pd.DataFrame) -> tuple[float, float]:
    """Tens that contain all marks and their bars."""
    low, high = (shown.top1_fp32 - shown.drop_high).min(), (shown.top1_fp32 - shown.drop_low).max()
    return 10 * np.floor(low / 10), 10 * np.ceil(max(high, shown.top1_fp32.max()) / 10)
