"""The figures, as SVG and PNG, with colours that colour-blind readers can tell apart."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.files import written_whole
from qhyvit.reporting.results import FP32

# Okabe and Ito, "Color Universal Design", 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
COLUMNS = 3  # panels beside one another
SPREAD = 0.7  # of the distance between two bit-widths, over which the methods are spread
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "qhyvit",  # the same bytes at every run
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def look(position: int) -> dict[str, str]:
    """Colour and marker of the method in this position: pairs repeat only after 49."""
    return {"color": COLOURS[position % len(COLOURS)], "marker": MARKERS[(position + position // len(COLOURS)) % len(MARKERS)]}


def accuracy_figure(results: pd.DataFrame) -> Figure:
    """Top-1 by bit-width, one panel a model, one colour a method; bars span the 95 % paired interval of the drop."""
    quantized = results[results.method != FP32].copy()
    quantized["bits"] = [f"W{w_bits}A{a_bits}" for w_bits, a_bits in zip(quantized.w_bits, quantized.a_bits, strict=True)]
    bits = list(quantized.sort_values(["w_bits", "a_bits"], ascending=False).bits.unique())
    models, methods = list(quantized.model.unique()), list(quantized.method.unique())
    with mpl.rc_context(STYLE):
        columns = min(len(models), COLUMNS)
        rows_of_panels = -(-len(models) // columns)
        figure = Figure(figsize=(1.5 + 4.5 * columns, 3.7 * rows_of_panels + 0.3), layout="constrained")
        panels = list(figure.subplots(rows_of_panels, columns, squeeze=False, sharey=True).flat)
        for axes in panels[len(models) :]:
            axes.remove()
        for axes, model in zip(panels, models, strict=False):
            rows = quantized[quantized.model == model]
            axes.axhline(rows.top1_fp32.iloc[0], color="black", linestyle="--", linewidth=1, label="FP32")
            for position, method in enumerate(methods):
                means = rows[rows.method == method].groupby("bits")[["top1", "top1_fp32", "drop_low", "drop_high"]].mean().reindex(bits)
                shift = SPREAD * (position - (len(methods) - 1) / 2) / len(methods)
                low, high = means.top1_fp32 - means.drop_high, means.top1_fp32 - means.drop_low
                axes.errorbar(
                    [index + shift for index in range(len(bits))],
                    means.top1,
                    yerr=[(means.top1 - low).clip(lower=0), (high - means.top1).clip(lower=0)],
                    **look(position),
                    linestyle="none",
                    capsize=3,
                    label=method,
                )
            axes.set_xticks(range(len(bits)), bits)
            axes.set_title(f"{model}, n = {rows.images.iloc[0]:,}")
            axes.set_ylim(0, 100)
        figure.supylabel("top-1 accuracy (%)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def site_error_figure(errors: pd.DataFrame) -> Figure:
    """The relative error of every site of one model, in order of execution: one panel a bit-width, one colour a method.

    ``errors`` has the columns bits, method, site and relative_error.
    """
    bits, methods = list(errors.bits.unique()), list(errors.method.unique())
    sites = list(errors.site.unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.2 + 2.1 * len(bits)), layout="constrained")
        panels = figure.subplots(len(bits), 1, squeeze=False, sharex=True)[:, 0]
        for axes, width in zip(panels, bits, strict=True):
            for position, method in enumerate(methods):
                rows = errors[(errors.bits == width) & (errors.method == method)].set_index("site").reindex(sites)
                axes.plot(
                    range(len(sites)),
                    rows.relative_error,
                    **look(position),
                    markersize=3,
                    linewidth=0.8,
                    label=method,
                )
            axes.set_yscale("log")
            axes.set_title(width.upper(), loc="left", fontsize=10)
        shown = range(0, len(sites), max(1, len(sites) // 30))
        panels[-1].set_xticks(shown, [sites[index] for index in shown], rotation=90, fontsize=7)
        figure.supylabel("Fisher-weighted squared error / output energy")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def save_figure(figure: Figure, svg: Path, png: Path) -> None:
    """Write the figure in both formats, with nothing in them that changes from run to run."""
    with mpl.rc_context(STYLE), written_whole(svg) as vector, written_whole(png) as raster:
        figure.savefig(vector, format="svg", metadata={"Date": None})
        figure.savefig(raster, format="png", metadata={"Software": None}, dpi=150)
