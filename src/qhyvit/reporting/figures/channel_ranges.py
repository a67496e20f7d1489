"""Ranges of the channels at the input of each layer of one network."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from qhyvit.reporting.figures.site_colours import add_site_legend, site_colours
from qhyvit.reporting.figures.site_labels import label_height, label_sites
from qhyvit.reporting.figures.style import PAGE, STYLE
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from the channels of one network, an output of `qhyvit challenges`."""
    return channel_range_figure(read_table(sources.one("channel_ranges")))


def channel_range_figure(channels: pd.DataFrame) -> Figure:
    """Draw the widths of the channels' ranges at the input of each layer of one network, in order of execution.

    ``channels`` has the columns model, site, operand, bridge, low and high. The thin line spans all channels, the thick one the middle
    half, and the dot is the median. Constant channels have no place on the logarithmic axis and are left out; a site that has no other
    ones keeps an empty place.
    """
    inputs = channels[channels.operand == "input"].assign(width=channels.high - channels.low)
    bridges = inputs.groupby("site", sort=False).bridge.first()
    varying = inputs[inputs.width > 0]
    quartiles = varying.groupby("site").width.describe().reindex(bridges.index)
    colours = site_colours(bridges)
    with mpl.rc_context(STYLE):
        sites = list(quartiles.index)
        figure = Figure(figsize=(PAGE, 2.5 + label_height(sites)), layout="constrained")
        axes = figure.subplots()
        positions = range(len(sites))
        axes.vlines(positions, quartiles["min"], quartiles["max"], color=colours, linewidth=0.6)
        axes.vlines(positions, quartiles["25%"], quartiles["75%"], color=colours, linewidth=2.5)
        axes.scatter(positions, quartiles["50%"], color="white", edgecolor="black", linewidth=0.4, s=5, zorder=3)
        axes.set_yscale("log")
        axes.set_ylabel("range of a channel (high - low)")
        axes.set_title(f"{channels.model.iloc[0]}: {len(varying):,} of {len(inputs):,} channels at {len(sites)} sites")
        label_sites(axes, sites)
        axes.set_xlim(-1, len(sites))
        axes.grid(visible=False, axis="x")
        add_site_legend(figure, bridges)
    return figure
