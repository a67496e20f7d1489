"""Figures of the challenges: channel ranges of one network, zero-point overflow in all. Both show the inputs of layers, site by site."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qhyvit.reporting.figures.style import BRIDGE, OTHER, PAGE, STYLE, label_sites


def channel_range_figure(channels: pd.DataFrame) -> Figure:
    """The widths of the channels' ranges at the input of each layer of one network, in order of execution.

    ``channels`` has the columns model, site, operand, bridge, low and high. The thin line spans all channels, the thick one the middle
    half, and the dot is the median. Channels that are constant have no place on the logarithmic axis and are left out.
    """
    inputs = channels[channels.operand == "input"].assign(width=channels.high - channels.low)
    inputs = inputs[inputs.width > 0]
    quartiles = inputs.groupby("site", sort=False).width.describe()
    colours = _colours(inputs.groupby("site", sort=False).bridge.first())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 4.5), layout="constrained")
        axes = figure.subplots()
        positions = range(len(quartiles))
        axes.vlines(positions, quartiles["min"], quartiles["max"], color=colours, linewidth=0.6)
        axes.vlines(positions, quartiles["25%"], quartiles["75%"], color=colours, linewidth=2.5)
        axes.scatter(positions, quartiles["50%"], color="white", edgecolor="black", linewidth=0.4, s=5, zorder=3)
        axes.set_yscale("log")
        axes.set_ylabel("range of a channel (high - low)")
        axes.set_title(f"{channels.model.iloc[0]}: {len(inputs):,} channels at {len(quartiles)} sites")
        label_sites(axes, list(quartiles.index))
        axes.set_xlim(-1, len(quartiles))
        axes.grid(visible=False, axis="x")
        _add_legend(figure)
    return figure


def overflow_figure(activations: pd.DataFrame) -> Figure:
    """The share of the channels whose zero point overflows at the input of each layer, one panel a network.

    ``activations`` has the columns model, site, operand, bridge, channels and overflowing_channels. Shades mark the bridge sites, so that
    those without overflow show too.
    """
    inputs = activations[activations.operand == "input"]
    models = list(inputs.model.unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.8 + 1.2 * len(models)), layout="constrained")
        for axes, model in zip(figure.subplots(len(models), 1, squeeze=False)[:, 0], models, strict=True):
            rows = inputs[inputs.model == model].reset_index(drop=True)
            for position in rows.index[rows.bridge]:
                axes.axvspan(position - 0.5, position + 0.5, color=BRIDGE, alpha=0.25, linewidth=0)
            axes.bar(rows.index, 100 * rows.overflowing_channels / rows.channels, color=_colours(rows.bridge))
            axes.set_title(
                f"{model}: {_count(rows[rows.bridge])} channels overflow at bridge sites, {_count(rows[~rows.bridge])} at others",
                loc="left",
            )
            axes.grid(visible=False, axis="x")
            axes.set_xlim(-1, len(rows))
            axes.set_ylim(0, 100)
        axes.set_xlabel("input of each layer, in order of execution")
        figure.supylabel("channels that overflow (%)")
        _add_legend(figure)
    return figure


def _count(rows: pd.DataFrame) -> str:
    return f"{rows.overflowing_channels.sum():,} of {rows.channels.sum():,}"


def _colours(bridge: "pd.Series[bool]") -> list[str]:
    return [BRIDGE if is_bridge else OTHER for is_bridge in bridge]


def _add_legend(figure: Figure) -> None:
    patches = [Patch(color=BRIDGE, label="bridge block"), Patch(color=OTHER, label="other site")]
    figure.legend(handles=patches, loc="outside upper center", ncols=2)
