"""Style of all figures: the width of a page, markers that survive greyscale and colour blindness, and reproducible files."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from qhyvit.files import atomic_write
from qhyvit.reporting.catalog import MethodCatalog

# Okabe and Ito, "Color Universal Design", 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MORE_MARKERS = ("<", ">", "p", "h", "d"), ("H", "8", (4, 1, 0), (6, 1, 0))  # the last two are stars
SHAPES = [(marker, filled) for group in (MARKERS, *MORE_MARKERS) for filled in (True, False) for marker in group]
FAMILIES = ("MobileViTv1", "MobileViTv2", "Mobile-Former", "EfficientFormerV1", "EfficientFormerV2")  # the paper's
SHIFT = 4  # of the colours when the markers repeat: the main methods then have different ones
BRIDGE, OTHER, HATCH = "#D55E00", "#56B4E9", "////"  # sites of bridge blocks, also hatched, and all others
PAGE = 7.2  # inches, the width of a printed page between its margins: figures are not scaled, so font sizes are true
POWER_OF_TEN = re.compile(r"\$(\\mathdefault\{)?-?10\^\{[-−]?\d+\}\}?\$")  # a tick of a logarithmic axis
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "qhyvit",  # the same bytes at every run
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.titlesize": 8,
    "figure.labelsize": 8,
    "figure.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "legend.columnspacing": 1.2,
}


def network_styles(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour, marker and label of each ``model`` of the runs, in alphabetical order.

    They depend on its ``family``, so that a network looks the same in figures of other experiments, and on the other networks of that.
    """
    families = [*FAMILIES, *sorted({*runs.family} - {*FAMILIES})]
    styles: dict[str, dict[str, Any]] = {}
    earlier = dict.fromkeys(families, 0)
    for model, family in runs[["model", "family"]].drop_duplicates().sort_values("model").itertuples(index=False):
        styles[model] = _look(families.index(family) + len(families) * earlier[family]) | {"label": model}
        earlier[family] += 1
    return styles


def method_styles(names: Iterable[str], methods: MethodCatalog) -> dict[str, dict[str, Any]]:
    """Return colour, marker and label of each of ``names``, in the order of the methods file.

    They depend on the place in that file alone, so that a method looks the same in all figures of experiments that share the file;
    unknown methods follow its last.
    """
    known = list(methods.labels)
    order = methods.order(names)
    places = [*known, *(name for name in order if name not in known)]
    return {name: _look(places.index(name)) | {"label": methods.label(name)} for name in order}


def _look(place: int) -> dict[str, Any]:
    """Return a style; the shape of the marker and whether it is filled tell 34 places apart without the colour."""
    colour = COLOURS[(place + SHIFT * (place // len(MARKERS))) % len(COLOURS)]
    marker, filled = SHAPES[place % len(SHAPES)]
    face = colour if filled else "white"
    size = 6 if marker == "*" else 4  # a star looks smaller than it is
    return {"color": colour, "marker": marker, "markersize": size, "markerfacecolor": face, "markeredgewidth": 0.8}


def panel_grid(count: int, columns: int, height: float, above: float, *, shared: bool) -> tuple[Figure, list[Axes]]:
    """Make a figure as wide as a page with ``count`` panels in at most ``columns`` columns, with ``shared`` axes or not.

    A panel is ``height`` inches high; ``above`` inches are for the legend.
    """
    columns = min(count, columns)
    lines = -(-count // columns)
    figure = Figure(figsize=(PAGE, above + height * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False, sharex=shared, sharey=shared).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def dodge(count: int, width: float = 0.8) -> NDArray[np.float64]:
    """Return offsets of ``count`` marks that share one place on an axis, in order and centred, over ``width`` of it."""
    return width * (np.arange(count) - (count - 1) / 2) / count


def error_bars(low: pd.Series, middle: pd.Series, high: pd.Series) -> list[pd.Series]:
    """Return the lengths of bars below and above ``middle``, at least 0: rounding may put the mean of equal values outside them."""
    return [(middle - low).clip(lower=0), (high - middle).clip(lower=0)]


def add_legend(figure: Figure, axes: Axes) -> None:
    """Add one legend of the marks in ``axes`` above all panels: a legend at the side would cost width."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=_legend_columns(labels))


def legend_height(labels: Sequence[str]) -> float:
    """Return the height of the legend of `add_legend`, in inches."""
    return 0.1 + 0.17 * -(-len(labels) // _legend_columns(labels))


def _legend_columns(labels: Sequence[str]) -> int:
    columns = int(PAGE / (0.45 + 0.06 * max(map(len, labels))))  # inches of a handle and of a letter
    return max(1, min(columns, len(labels)))


def show_dollars(figure: Figure) -> None:
    """Let texts with a dollar sign be drawn as they are: matplotlib reads them as formulas. Powers of ten stay formulas."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if "$" in text.get_text() and not POWER_OF_TEN.fullmatch(text.get_text()):
            text.set_parse_math(False)


def save_figure(figure: Figure, svg: Path, png: Path) -> None:
    """Write the figure in both formats, with the same bytes at every run."""
    show_dollars(figure)
    with mpl.rc_context(STYLE), atomic_write(svg) as vector:
        figure.savefig(vector, format="svg", metadata={"Date": None})
        with atomic_write(png) as raster:
            figure.savefig(raster, format="png", metadata={"Software": None}, dpi=200)
