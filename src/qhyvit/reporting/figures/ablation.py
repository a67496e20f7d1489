"""Drop after each step of the search."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.errors import InputError
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, network_styles, panel_grid
from qhyvit.reporting.runs import bit_widths, quantized_runs, read_results
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv."""
    return ablation_figure(read_results(sources.one("results")), sources.mode, sources.methods)


def ablation_figure(results: pd.DataFrame, mode: str, methods: MethodCatalog) -> Figure:
    """Draw the drop of top-1 after each step of the ablation in ``mode``: one panel per bit-width, one line per network.

    Seeds are averaged; bars span their extremes. Raises InputError if ``results`` (results.csv) lacks a step.
    """
    steps = methods.steps
    rows = quantized_runs(results, mode)
    rows = rows[rows.method.isin(steps)]
    if missing := [name for name in steps if name not in set(rows.method)]:
        raise InputError(f"results.csv: no run of {', '.join(missing)} in mode {mode!r}; the ablation needs them: run these methods too")
    bits = bit_widths(rows)
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(len(bits), columns=2, height=2.3, above=0.7, shared=False)
        for axes, width in zip(panels, bits, strict=True):
            _draw_steps(axes, rows[rows.bits == width], list(steps))
            axes.set_xticks(range(len(steps)), list(steps.values()), rotation=25, ha="right", rotation_mode="anchor")
            axes.set_title(width, loc="left")
        figure.supylabel("drop of top-1 (points)")
        add_legend(figure, panels[0])
    return figure


def _draw_steps(axes: Axes, rows: pd.DataFrame, steps: list[str]) -> None:
    styles = network_styles(rows)
    for shift, (network, style) in zip(dodge(len(styles), 0.3), styles.items(), strict=True):
        drops = rows[rows.model == network].groupby("method")["drop"].agg(["mean", "min", "max"]).reindex(steps)
        bars = error_bars(drops["min"], drops["mean"], drops["max"])
        axes.errorbar(np.arange(len(steps)) + shift, drops["mean"], yerr=bars, **style, linewidth=0.8)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.grid(visible=False, axis="x")
