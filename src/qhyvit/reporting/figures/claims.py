"""Drops of the main methods on each network, next to those that the paper publishes."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.averaged import read_averaged
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.drop_axis import LARGEST, drop_label, scale_drops
from qhyvit.reporting.figures.line_panels import line_panels
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, method_styles
from qhyvit.reporting.published import read_cells, under_our_names
from qhyvit.reporting.runs import bit_widths, bits_shown, quantized_runs
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.headline import CLAIMED

PUBLISHED: dict[str, Any] = {"marker": "|", "markersize": 10, "markeredgewidth": 1.8, "zorder": 4}


def make(sources: Sources) -> Figure:
    """Make the figure from results.csv, correct.csv and the published Table II."""
    published = under_our_names(read_cells(sources.one("published/table_ii")), sources.methods.published_as)
    return claims_figure(read_averaged(sources), published, sources.methods)


def claims_figure(averaged: pd.DataFrame, published: pd.DataFrame, methods: MethodCatalog) -> Figure:
    """Draw the drop of top-1: one panel per bit-width, one line per network, one mark per method with its interval.

    ``averaged`` has one row per cell, with the columns of `qhyvit.reporting.averaged`. Vertical strokes are the drops of ``published``
    cells; dotted lines lead to them from ours.
    """
    ours = quantized_runs(averaged, "partial")
    ours = ours[ours.method.isin(CLAIMED)]
    published = published.assign(bits=bits_shown(published))
    networks, styles = sorted(ours.model.unique()), method_styles(ours.method, methods)
    widths = bit_widths(ours)
    with mpl.rc_context(STYLE):
        figure, panels = line_panels(networks, widths, line=0.5)
        for axes, width in zip(panels, widths, strict=True):
            for shift, (method, style) in zip(dodge(len(styles)), styles.items(), strict=True):
                cell, claim = (
                    rows[(rows.bits == width) & (rows.method == method)].set_index("model").reindex(networks) for rows in (ours, published)
                )
                place = np.arange(len(networks)) + shift
                bars = error_bars(cell.drop_low, cell["drop"], cell.drop_high)
                axes.errorbar(cell["drop"], place, xerr=bars, **style, linestyle="none", elinewidth=0.8)
                axes.hlines(place, cell["drop"], claim["drop"], color=style["color"], linestyle=":", linewidth=0.8)
                axes.plot(claim["drop"], place, color=style["color"], linestyle="none", **PUBLISHED)
            scale_drops(axes.xaxis, (ours["drop"].min(), LARGEST), (ours.drop_low.min(), LARGEST))
            axes.axvline(0, color="black", linewidth=0.8)
        if published.model.isin(networks).any():
            panels[0].plot([], [], color="0.3", linestyle="none", label="published drop where known, on ImageNet", **PUBLISHED)
        figure.supxlabel(drop_label(ours.images.max()))
        add_legend(figure, panels[0])
    return figure
