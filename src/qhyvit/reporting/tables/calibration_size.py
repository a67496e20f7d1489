"""Drops by the number of calibration images, over seeds: the paper reports neither."""

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.figures.style import PAGE, STYLE, add_legend, error_bars, marker_styles
from qhyvit.reporting.runs import FP32

RUNS = ["dataset", "model", "method", "mode", "w_bits", "a_bits", "calibration_images"]


def by_size(results: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each run and number of images: mean, standard deviation, lowest and highest of the ``drop`` in points over ``seeds`` seeds.

    ``results`` are those of `qhyvit evaluate`, FP32 included. Of one seed there is no standard deviation: NaN.
    """
    fp32 = {(result["dataset"], result["model"]): result["top1"] for result in results if result["method"] == FP32}
    rows = [
        result
        | {
            "calibration_images": len(result["provenance"]["calibrated"]["settings"]["images"]),
            "drop": fp32[result["dataset"], result["model"]] - result["top1"],
        }
        for result in results
        if result["method"] != FP32
    ]
    table = pd.DataFrame(rows).groupby(RUNS)["drop"].agg(["count", "mean", "std", "min", "max"]).reset_index()
    table = table.rename(columns={"count": "seeds", "mean": "drop", "std": "deviation", "min": "lowest", "max": "highest"})
    return table.sort_values(RUNS, ascending=[True, True, True, True, False, False, True], ignore_index=True)


def size_figure(table: pd.DataFrame) -> Figure:
    """Mean drop by number of images, with bars from the lowest to the highest seed: a row of panels a bit-width, a column a network.

    Of several modes the first is drawn. ``table`` is that of `by_size`.
    """
    table = table[table["mode"] == table["mode"].iloc[0]]
    bits = list(dict.fromkeys(zip(table.w_bits, table.a_bits, strict=True)))
    models, methods = list(table.model.unique()), sorted(table.method.unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 1 + 1.7 * len(bits)), layout="constrained")
        grid = figure.subplots(len(bits), len(models), sharex=True, sharey="row", squeeze=False)
        for axes, (weight_bits, activation_bits) in zip(grid, bits, strict=True):
            for panel, model in zip(axes, models, strict=True):
                shown = table[(table.model == model) & (table.w_bits == weight_bits) & (table.a_bits == activation_bits)]
                for method, look in marker_styles(methods).items():
                    drops = shown[shown.method == method]
                    bars = error_bars(drops.lowest, drops["drop"], drops.highest)
                    panel.errorbar(drops.calibration_images, drops["drop"], bars, label=method, **look, linewidth=0.8)
                panel.set_xscale("log", base=2)
                panel.xaxis.set_major_formatter("{x:.0f}")
            axes[0].set_ylabel(f"W{weight_bits}A{activation_bits}: drop (points)")
        for panel, model in zip(grid[0], models, strict=True):
            panel.set_title(model, fontsize=7)
        figure.supxlabel("calibration images")
        add_legend(figure, grid[0][0])
    return figure
