"""Colours of sites: those of bridge blocks against all others."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qhyvit.reporting.figures.style import BRIDGE, OTHER


def site_colours(bridge: "pd.Series[bool]") -> list[str]:
    """Return the colour of each site, given whether it belongs to a bridge block."""
    return [BRIDGE if is_bridge else OTHER for is_bridge in bridge]


def add_site_legend(figure: Figure) -> None:
    """Add the legend of the two colours above all panels."""
    patches = [Patch(color=BRIDGE, label="bridge block"), Patch(color=OTHER, label="other site")]
    figure.legend(handles=patches, loc="outside upper center", ncols=2)
