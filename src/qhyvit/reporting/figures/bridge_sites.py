"""Channel ranges and zero-point overflow at the sites of bridge blocks against all others: challenges C1 and C2."""

from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qhyvit.reporting.figures.style import BRIDGE, HATCH, OTHER, PAGE, STYLE
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources

SPREAD = 0.32  # of a network's line, for the sites of one kind


def make(sources: Sources) -> Figure:
    """Make the figure from the channels of all networks, outputs of `qhyvit challenges`, and challenges.csv."""
    channels = pd.concat([read_table(path) for path in sources.all("channel_ranges")], ignore_index=True)
    return bridge_figure(channels, read_table(sources.one("challenges")))


def bridge_figure(channels: pd.DataFrame, activations: pd.DataFrame) -> Figure:
    """Draw one line per network, sites of bridge blocks above all others, for the inputs of convolutions and linear layers.

    Left: ranges of the channels relative to the median one of their site (C1), in powers of ten, without constant channels. Right: share of
    the channels of each site whose 8-bit zero point overflows (C2), and share of all. ``channels`` has the columns model, site, operand,
    bridge, low and high, ``activations`` model, operand, bridge, channels and overflowing_channels.
    """
    models = list(activations.model.unique())
    spreads, overflows = _spreads(channels), activations[activations.operand == "input"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 1.2 + 0.55 * len(models)), layout="constrained")
        ranges, shares = figure.subplots(1, 2, sharey=True)
        for place, model in enumerate(models):
            for bridge in (True, False):
                _draw_violin(ranges, spreads[(spreads.model == model) & (spreads.bridge == bridge)].spread, place, bridge=bridge)
                _draw_shares(shares, overflows[(overflows.model == model) & (overflows.bridge == bridge)], place, bridge=bridge)
        ranges.set_yticks(range(len(models)), models)
        ranges.set_ylim(len(models) - 0.5, -0.5)
        exponents = range(int(np.floor(spreads.spread.min())), int(np.ceil(spreads.spread.max())) + 1)
        ranges.set_xticks(exponents, [f"$10^{{{exponent}}}$" for exponent in exponents])
        ranges.set_xlabel("range of a channel / median range at its site")
        shares.set_xlim(-2, 102)
        shares.set_xlabel("channels whose zero point overflows (%)")
        for axes in (ranges, shares):
            axes.grid(visible=False, axis="y")
        _add_legend(figure, activations.bridge)
    return figure


def _spreads(channels: pd.DataFrame) -> pd.DataFrame:
    widths = channels.assign(width=channels.high - channels.low)
    varying = widths[(widths.operand == "input") & (widths.width > 0)]
    median = varying.groupby(["model", "site"]).width.transform("median")
    return varying.assign(spread=np.log10(varying.width / median))


def _draw_violin(axes: Axes, spreads: "pd.Series[float]", place: int, *, bridge: bool) -> None:
    if spreads.nunique() < 2:  # a density needs two values
        return
    side: Literal["low", "high"] = "low" if bridge else "high"  # the axis runs downwards, so low is above
    axes.violinplot([spreads], [place], orientation="horizontal", widths=0.9, showextrema=False, side=side, points=200)
    body = axes.collections[-1]
    body.set(facecolor=BRIDGE if bridge else OTHER, edgecolor="black", linewidth=0.5, alpha=1, hatch=HATCH if bridge else None)
    quartiles = np.quantile(spreads, [0.25, 0.5, 0.75])
    height = place + (-0.1 if bridge else 0.1)
    for colour, width in ("white", 4), ("black", 2.5):  # an outline, since hatches are black too
        axes.hlines(height, quartiles[0], quartiles[2], color=colour, linewidth=width)
    axes.plot(quartiles[1], height, color="white", marker="o", markersize=3, markeredgecolor="black", markeredgewidth=0.5)


def _draw_shares(axes: Axes, rows: pd.DataFrame, place: int, *, bridge: bool) -> None:
    if rows.empty:
        return
    centre = place + (-0.22 if bridge else 0.22)
    overall = 100 * rows.overflowing_channels.sum() / rows.channels.sum()
    axes.barh(
        centre, overall, 0.36, facecolor=BRIDGE if bridge else OTHER, edgecolor="black", linewidth=0.5, hatch=HATCH if bridge else None
    )
    heights = centre + np.linspace(-SPREAD / 2, SPREAD / 2, len(rows))  # in order of execution
    axes.scatter(100 * rows.overflowing_channels / rows.channels, heights, s=5, color="black", linewidth=0, alpha=0.6)


def _add_legend(figure: Figure, bridge: "pd.Series[bool]") -> None:
    patches = {
        True: Patch(facecolor=BRIDGE, edgecolor="black", linewidth=0.5, hatch=HATCH, label="bridge blocks"),
        False: Patch(facecolor=OTHER, edgecolor="black", linewidth=0.5, label="other sites"),
    }
    figure.legend(handles=[patch for kind, patch in patches.items() if kind in set(bridge)], loc="outside upper center", ncols=2)
