"""Names of sites below an axis, and the height that they take."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

SITES = 50  # as many names as can be read below the width of a page
LONGEST = 60  # letters of a name, 2.6 inches; of a longer one both ends are shown, which tell the block and the layer
SIZE = 6  # of the letters, in points


def label_sites(axes: Axes, sites: Sequence[str]) -> None:
    """Write the names of evenly chosen ``sites``, whose places are 0, 1, ..., below the axis."""
    shown = _shown(sites)
    axes.set_xticks(shown, [_shortened(sites[index]) for index in shown], rotation=90, fontsize=SIZE)


def label_height(sites: Sequence[str]) -> float:
    """Return the height of the names of `label_sites`, in inches; a figure adds it to that of its panels."""
    font = FontProperties(size=SIZE)
    names = [_shortened(sites[index]) for index in _shown(sites)]
    return max(text_to_path.get_text_width_height_descent(name, font, ismath=False)[0] for name in names) / 72


def _shown(sites: Sequence[str]) -> range:
    return range(0, len(sites), -(-len(sites) // SITES))


def _shortened(name: str) -> str:
    kept = (LONGEST - 1) // 2
    return name if len(name) <= LONGEST else f"{name[:kept]}…{name[-kept:]}"
