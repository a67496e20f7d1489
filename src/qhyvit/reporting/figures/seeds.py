"""Top-1 of each seed relative to the mean over seeds."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.line_panels import method_panels
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, network_styles
from qhyvit.reporting.runs import quantized_runs, read_results
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv."""
    return seed_figure(read_results(sources.one("results")), sources.mode, sources.methods)


def seed_figure(results: pd.DataFrame, mode: str, methods: MethodCatalog) -> Figure:
    """Draw the top-1 of each seed in ``mode`` minus the mean over seeds: one panel per bit-width, one line per method.

    ``results`` is results.csv; each network and seed has a mark.
    """
    shown = quantized_runs(results, mode)
    shown["deviation"] = shown.top1 - shown.groupby(["model", "method", "bits"]).top1.transform("mean")
    order, networks, seeds = methods.order(shown.method), network_styles(shown), sorted(shown.seed.unique())
    steps = dict(zip(seeds, dodge(len(seeds), 0.6 / len(networks)), strict=True))  # equal seeds do not hide each other
    with mpl.rc_context(STYLE):
        figure, panels = method_panels(shown, methods)
        for axes, width in panels.items():
            for shift, (network, style) in zip(dodge(len(networks)), networks.items(), strict=True):
                rows = shown[(shown.bits == width) & (shown.model == network)]
                lines = np.array([order.index(method) for method in rows.method])
                axes.plot(rows.deviation, lines + shift + rows.seed.map(steps), **style, linestyle="none")
            widest = 1.1 * shown[shown.bits == width].deviation.abs().max() or 1.0  # all seeds may be equal
            axes.set_xlim(-widest, widest)
            axes.axvline(0, color="black", linewidth=0.8, zorder=1)
        figure.supxlabel("top-1 of a seed, minus the mean over seeds (points)")
        add_legend(figure, next(iter(panels)))
    return figure
