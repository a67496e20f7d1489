"""How much the top-1 of a run changes with its seed, which draws the calibration images, their sampled labels and positions."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.cells import runs_of_mode
from qhyvit.reporting.figures.method_panels import method_panels
from qhyvit.reporting.figures.style import STYLE, add_legend, dodge, marker_styles
from qhyvit.reporting.published import CELL
from qhyvit.reporting.runs import FP32
from qhyvit.reporting.tables.comparison import bits_shown, decimals

SPREAD = {"count": "seeds", "mean": "top1_mean", "std": "top1_sd", "min": "top1_min", "max": "top1_max"}
CAPTION = (
    "Top-1 in percent over the seeds of each run: the mean, the standard deviation (of the sample) and the extremes, all on the same"
    " evaluation images. A seed draws the calibration images, their sampled labels and positions."
)
ONE_SEED = f"{CAPTION} This experiment has one seed, so there is no spread to show."


def seed_spread(results: pd.DataFrame) -> pd.DataFrame:
    """A row for each run of several seeds in results.csv: `CELL`, and SPREAD of its top-1 in percent."""
    runs = results[results.method != FP32].groupby(["dataset", *CELL])
    spread = runs.top1.agg(list(SPREAD)).rename(columns=SPREAD).reset_index()
    order = ["dataset", "model", "mode", "method", "w_bits", "a_bits"]
    return spread[spread.seeds > 1].sort_values(order, ascending=[True] * 4 + [False] * 2, ignore_index=True)


def seed_spread_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """What `seed_spread` returns, for people: two decimals."""
    names = {"model": rows.model, "mode": rows["mode"], "method": rows.method, "bits": bits_shown(rows), "seeds": rows.seeds.astype(str)}
    numbers = {"mean": "top1_mean", "standard deviation": "top1_sd", "lowest": "top1_min", "highest": "top1_max"}
    return pd.DataFrame(names | {name: decimals(rows[column]) for name, column in numbers.items()})


def seed_figure(results: pd.DataFrame, mode: str) -> Figure:
    """The top-1 of every seed in ``mode`` less the mean over seeds: a panel a bit-width, a line a method, a mark a network and seed."""
    shown = runs_of_mode(results, mode)
    shown["deviation"] = shown.top1 - shown.groupby(["model", "method", "bits"]).top1.transform("mean")
    methods, networks = sorted(shown.method.unique()), list(shown.model.unique())
    with mpl.rc_context(STYLE):
        figure, panels = method_panels(shown)
        for axes, width in panels.items():
            for shift, (network, look) in zip(dodge(len(networks)), marker_styles(networks).items(), strict=True):
                rows = shown[(shown.bits == width) & (shown.model == network)]
                lines = np.array([methods.index(method) for method in rows.method])
                axes.plot(rows.deviation, lines + shift, **look, linestyle="none", label=network)
            widest = 1.1 * shown[shown.bits == width].deviation.abs().max() or 1.0  # no seed need differ
            axes.set_xlim(-widest, widest)
            axes.axvline(0, color="black", linewidth=0.8)
        figure.supxlabel("top-1 of a seed, less the mean over seeds (points)")
        add_legend(figure, next(iter(panels)))
    return figure
