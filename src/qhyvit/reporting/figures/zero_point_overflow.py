"""Zero-point overflow at the input of each layer."""

from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qhyvit.reporting.figures.site_colours import add_site_legend, site_colours
from qhyvit.reporting.figures.style import BRIDGE, PAGE, STYLE
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources

VISIBLE = 1  # percent of a site's channels: a network in which no site has as many has no panel
LINE = 100  # characters of the note
SHADE = 0.25  # opacity


def make(sources: Sources) -> Figure:
    """Make the figure from challenges.csv."""
    return overflow_figure(read_table(sources.one("challenges")))


def overflow_figure(activations: pd.DataFrame) -> Figure:
    """Draw the share of the channels whose zero point overflows at the input of each layer: one panel per network, with its own scale.

    ``activations`` has the columns model, site, operand, bridge, channels and overflowing_channels. Shades mark the sites of bridge blocks.
    A note names the networks without a panel: fewer than VISIBLE percent of the channels of each site overflow there.
    """
    inputs = activations[activations.operand == "input"]
    shares = inputs.assign(share=100 * inputs.overflowing_channels / inputs.channels)
    networks = {str(model): rows for model, rows in shares.groupby("model", sort=False)}
    drawn = [model for model, rows in networks.items() if rows.share.max() >= VISIBLE]
    note = _note({model: rows for model, rows in networks.items() if model not in drawn})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.8 + 1.2 * len(drawn)), layout="constrained")
        for place, model in enumerate(drawn, start=1):
            _draw_network(figure.add_subplot(len(drawn), 1, place), networks[model].reset_index(drop=True), model)
        figure.supxlabel("\n".join(filter(None, ["input of each layer, in order of execution" if drawn else "", note])))
        if drawn:
            figure.supylabel("channels whose zero point overflows (%)")
            bridge = pd.concat([networks[model].bridge for model in drawn])
            add_site_legend(
                figure, bridge, *([Patch(color=BRIDGE, alpha=SHADE, label="place of a site of a bridge block")] if bridge.any() else [])
            )
    return figure


def _draw_network(axes: Axes, rows: pd.DataFrame, model: str) -> None:
    for position in rows.index[rows.bridge]:
        axes.axvspan(position - 0.5, position + 0.5, color=BRIDGE, alpha=SHADE, linewidth=0)
    axes.bar(rows.index, rows.share, color=site_colours(rows.bridge))
    bridge, other = rows[rows.bridge], rows[~rows.bridge]
    counts = (
        f"{_count(bridge)} channels overflow at bridge sites, {_count(other)} at others"
        if len(bridge)
        else f"{_count(other)} channels overflow"
    )
    axes.set_title(f"{model}: {counts}", loc="left")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-1, len(rows))
    axes.set_ylim(0, 10 * np.ceil(rows.share.max() / 10))


def _note(networks: dict[str, pd.DataFrame]) -> str:
    if not networks:
        return ""
    counts = ", ".join(f"{model} ({_count(rows)} channels)" for model, rows in networks.items())
    return fill(f"Hardly any overflow or none, hence no panel: {counts}.", LINE)


def _count(rows: pd.DataFrame) -> str:
    return f"{rows.overflowing_channels.sum():,} of {rows.channels.sum():,}"
