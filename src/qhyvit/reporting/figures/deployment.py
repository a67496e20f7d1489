"""Drop of exported models, and their latency."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.drop_axis import drop_label, drop_limits, scale_drops
from qhyvit.reporting.figures.line_panels import line_panels
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, error_bars, network_styles
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources

RUN = ["model", "method", "engine"]
LATENCY = "latency relative to FP32 in OpenVINO"


def make(sources: Sources) -> Figure:
    """Make the figure from deployment.csv, and from latency.csv if it is given."""
    latencies = read_table(sources.one("latency")) if sources.paths.get("latency") else pd.DataFrame(columns=[*RUN, "relative"])
    return deployment_figure(read_table(sources.one("deployment")), latencies, sources.methods)


def deployment_figure(rows: pd.DataFrame, latencies: pd.DataFrame, methods: MethodCatalog) -> Figure:
    """Draw the exports of the smallest seed at W8A8: one line per method and engine, one mark per network.

    Left: the drop of top-1 with its 95 % interval. Right: the latency, for the runs that have one. ``rows`` is the table of
    `qhyvit.reporting.tables.deployment`; ``latencies`` has the columns RUN and ``relative`` to FP32.
    """
    shown = rows[(rows.w_bits == 8) & (rows.a_bits == 8) & (rows.seed == rows.seed.min())]
    shown = shown.merge(latencies[[*RUN, "relative"]], on=RUN, how="left")
    shown = shown.assign(line=shown.method.map(methods.label) + ", " + shown.engine)
    lines, networks = list(dict.fromkeys(shown.line)), network_styles(shown)
    with mpl.rc_context(STYLE):
        figure, (drops, times) = line_panels(lines, ["W8A8", ""], line=0.5)
        for shift, (network, style) in zip(dodge(len(networks)), networks.items(), strict=True):
            runs = shown[shown.model == network].set_index("line").reindex(lines)
            places = np.arange(len(lines)) + shift
            bars = error_bars(runs.drop_low, runs["drop"], runs.drop_high)
            drops.errorbar(runs["drop"], places, xerr=bars, **style, linestyle="none", elinewidth=0.8)
            times.plot(runs.relative, places, **style, linestyle="none")
        scale_drops(drops.xaxis, *drop_limits(shown))
        drops.axvline(0, color="black", linewidth=0.8)
        drops.set_xlabel(drop_label(shown.images.max(), "\n"))
        times.set_xlim(0, max(1.1, 1.1 * shown.relative.max()) if shown.relative.notna().any() else 1.1)
        for line, relative in shown.groupby("line").relative:
            if relative.isna().all():
                times.text(0.03, lines.index(line), "not measured", color="0.4", va="center")
        times.axvline(1, color="black", linewidth=0.8)
        times.set_xlabel(LATENCY)
        add_legend(figure, drops)
    return figure
