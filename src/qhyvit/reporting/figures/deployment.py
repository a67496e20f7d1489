"""Drop of exported models against their latency, or their size."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.drop_axis import LABEL, scale_drops
from qhyvit.reporting.figures.style import STYLE, add_legend, error_bars, legend_height, marker_styles, panel_grid
from qhyvit.reporting.sources import Sources

MIB = 2**20
RUN = ["model", "method", "engine"]


def make(sources: Sources) -> Figure:
    """Make the figure from deployment.csv, and from latency.csv if it is given."""
    latencies = pd.read_csv(sources.one("latency")) if sources.paths.get("latency") else None
    return deployment_figure(pd.read_csv(sources.one("deployment")), latencies, sources.methods)


def deployment_figure(rows: pd.DataFrame, latencies: pd.DataFrame | None, methods: MethodCatalog) -> Figure:
    """Draw the drop of top-1 at W8A8, one panel per network, one mark per method and engine, with the 95 % interval of the smallest seed.

    ``rows`` is the table of `qhyvit.reporting.tables.deployment`. The axis is the latency in ``latencies``, with the columns RUN and
    ``relative`` to FP32, if all runs have one there, and the size otherwise.
    """
    shown = rows[(rows.w_bits == 8) & (rows.a_bits == 8) & (rows.seed == rows.seed.min())]
    shown, label = shown.assign(x=shown["size"] / MIB), "size (MiB)"
    if latencies is not None:
        timed = shown.drop(columns="x").merge(latencies.rename(columns={"relative": "x"})[[*RUN, "x"]], on=RUN)
        if len(timed) == len(shown):
            shown, label = timed, "latency relative to FP32 in OpenVINO"
    shown = shown.assign(name=shown.method.map(methods.label) + ", " + shown.engine)
    networks = list(shown.groupby("model"))
    styles = marker_styles(list(dict.fromkeys(shown.name)))
    with mpl.rc_context(STYLE):
        figure, panels = panel_grid(max(len(networks), 1), columns=3, height=2.6, above=0.3 + legend_height([*styles, ""]), shared=False)
        for axes, (model, of_model) in zip(panels, networks, strict=False):
            for run in of_model.itertuples():
                bars = error_bars(*(pd.Series([value]) for value in (run.drop_low, run.drop, run.drop_high)))
                axes.errorbar(run.x, run.drop, yerr=bars, **styles[run.name], linestyle="none", elinewidth=0.8)
            axes.axhline(0, color="black", linewidth=0.8)
            scale_drops(axes.yaxis, (shown["drop"].min(), shown["drop"].max()), (shown.drop_low.min(), shown.drop_high.max()))
            axes.set_title(model, loc="left")
        figure.supxlabel(label)
        figure.supylabel(LABEL)
        add_legend(figure, panels[0])
    return figure
