"""Colours of sites: those of bridge blocks against all others."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qhyvit.reporting.figures.style import BRIDGE, OTHER


def site_colours(bridge: "pd.Series[bool]") -> list[str]:
    """Return the colour of each site, given whether it belongs to a bridge block."""
    return [BRIDGE if is_bridge else OTHER for is_bridge in bridge]


def add_site_legend(figure: Figure, bridge: "pd.Series[bool]", *more: Patch) -> None:
    """Add the legend of the colours that occur, and of ``more`` patches, above all panels."""
    kinds = {BRIDGE: "bridge block", OTHER: "other site"}
    patches = [Patch(color=colour, label=label) for colour, label in kinds.items() if colour in site_colours(bridge)]
    figure.legend(handles=[*patches, *more], loc="outside upper center", ncols=3)
