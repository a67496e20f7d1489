"""The figure of what each step of Q-HyViT's search adds."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qhyvit.errors import InputError
from qhyvit.reporting.cells import bit_widths, runs_of_mode
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, marker_styles, panel_grid
from qhyvit.reporting.search_steps import STEPS


def ablation_figure(results: pd.DataFrame, mode: str) -> Figure:
    """The drop of top-1 after each of STEPS in ``mode``: a panel a bit-width, a line a network; means over seeds, bars from least to most.

    ``results`` is results.csv. Raises InputError where it lacks one of STEPS.
    """
    rows = runs_of_mode(results, mode).query("method in @STEPS")
    if missing := set(STEPS) - set(rows.method):
        raise InputError(
            f"results.csv: no run of {', '.join(sorted(missing))} in mode {mode!r}; the ablation needs them: run these methods too"
        )
    bits = bit_widths(rows)
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(len(bits), columns=2, height=2.1, above=0.7, shared=False)
        for axes, width in zip(panels, bits, strict=True):
            _draw_steps(axes, rows[rows.bits == width])
            axes.set_title(width, loc="left")
        figure.supylabel("drop of top-1 (points)")
        add_legend(figure, panels[0])
    return figure


def _draw_steps(axes: Axes, rows: pd.DataFrame) -> None:
    networks = list(rows.model.unique())
    for shift, (network, look) in zip(dodge(len(networks), 0.3), marker_styles(networks).items(), strict=True):
        drops = rows[rows.model == network].groupby("method")["drop"].agg(["mean", "min", "max"]).reindex(list(STEPS))
        bars = error_bars(drops["min"], drops["mean"], drops["max"])
        axes.errorbar(np.arange(len(STEPS)) + shift, drops["mean"], yerr=bars, **look, linewidth=0.8, label=network)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(STEPS)), list(STEPS.values()))
    axes.grid(visible=False, axis="x")
