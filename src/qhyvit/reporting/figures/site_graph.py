"""Flow of data between the sites of a network, with its bridge blocks marked."""

from collections.abc import Collection
from math import dist
from pathlib import Path
from typing import Any

import matplotlib as mpl
import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qhyvit.files import atomic_write
from qhyvit.reporting.figures.style import COLOURS, STYLE, show_dollars

MAX_ROWS = 45
ROW, CHARACTER, MARGIN = 0.3, 0.06, 0.5  # inches
LEGEND_WIDTH = 3.3  # inches
SITE_STYLES = {"conv": ("s", COLOURS[0]), "linear": ("o", COLOURS[2]), "matmul": ("D", COLOURS[1])}
WORST = "#CC0000"
BRIDGE_COLOURS = {"conversion": COLOURS[4], "exchange": COLOURS[5]}
Places = dict[str, tuple[float, float]]


def site_graph(description: dict[str, Any]) -> nx.DiGraph:
    """Return the sites of a ``description`` by name, in order of execution, each with its kind; edges run from a site to its readers."""
    graph = nx.DiGraph()
    for site in description["sites"]:
        graph.add_node(site["name"], kind=site["kind"])
        graph.add_edges_from((source, site["name"]) for source in site["reads"])
    return graph


def plot_site_graph(description: dict[str, Any], svg: Path, worst: Collection[str] = ()) -> None:
    """Draw a ``description`` (`qhyvit.graph.describe`) to ``svg``: its sites, each as late as its readers allow, and its bridge blocks.

    The sites ``worst`` have a ring, and their names are bold.

    The flow turns round at the end of each column. Of the edges that a longer path covers, such as residual connections, the first one from
    each site is drawn.
    """
    graph, blocks = site_graph(description), description["bridge_blocks"]
    with mpl.rc_context(STYLE), atomic_write(svg) as path:
        places, (width, height) = _arrange(graph)
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        for number, block in enumerate(blocks, start=1):
            _mark(axes, graph, places, block, number)
        _draw_flow(axes, graph, places)
        _draw_rings(axes, places, worst)
        for name, place in places.items():
            _write(axes, name, place, 7, ha="left", fontsize=7, weight="bold" if name in worst else "normal")
        axes.set(xlim=(0, width), ylim=(-height, 0))
        axes.set_axis_off()
        title = f"{description['model']}: {len(graph)} sites, {len(blocks)} bridge blocks"
        figure.legend(handles=_legend(worst), title=title, loc="upper left", ncols=2, frameon=False, alignment="left")
        show_dollars(figure)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _arrange(graph: nx.DiGraph) -> tuple[Places, tuple[float, float]]:
    """Return the place of each site, and width and height of the figure, in inches. The longest path to a row leads to its first site."""
    age = {name: depth for depth, names in enumerate(nx.topological_generations(graph)) for name in names}
    depths = [sorted(names, key=age.__getitem__, reverse=True) for names in nx.topological_generations(graph.reverse())][::-1]
    columns = -(-len(depths) // MAX_ROWS)
    rows = -(-len(depths) // columns)
    lanes = max(map(len, depths))
    lane_width = CHARACTER * max(map(len, graph)) + MARGIN
    places = {}
    for depth, names in enumerate(depths):
        column, row = divmod(depth, rows)
        y = row if column % 2 == 0 else rows - 1 - row
        for lane, name in enumerate(names):
            places[name] = (MARGIN + lane_width * (column * lanes + lane), -ROW * (y + 4))
    return places, (max(LEGEND_WIDTH, MARGIN + lane_width * columns * lanes), ROW * (rows + 4))


def _draw_flow(axes: Axes, graph: nx.DiGraph, places: Places) -> None:
    longest = nx.transitive_reduction(graph)  # its edges come in no certain order
    nx.draw_networkx_edges(graph, places, [edge for edge in graph.edges if edge in longest.edges], ax=axes, node_size=40, arrowsize=7)
    shortcuts = [next((edge for edge in graph.edges(name) if edge not in longest.edges), None) for name in graph]
    for source, target in filter(None, shortcuts):
        bend = min(0.2, 1.6 * MARGIN / dist(places[source], places[target]))
        bend = bend if places[source][1] > places[target][1] else -bend  # to the left, away from the names
        style: dict[str, Any] = {"width": 0.5, "edge_color": "grey", "arrowsize": 5, "connectionstyle": f"arc3,rad={bend}"}
        nx.draw_networkx_edges(graph, places, [(source, target)], ax=axes, node_size=40, **style)
    for kind, (shape, colour) in SITE_STYLES.items():
        names = [name for name, own in graph.nodes(data="kind") if own == kind]
        nx.draw_networkx_nodes(graph, places, names, node_size=40, node_color=colour, node_shape=shape, ax=axes)


def _draw_rings(axes: Axes, places: Places, worst: Collection[str]) -> None:
    style: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": WORST, "markeredgewidth": 1.5}
    for name in worst:
        axes.plot(*places[name], "o", gid=f"worst-{name}", **style)


def _mark(axes: Axes, graph: nx.DiGraph, places: Places, block: dict[str, Any], number: int) -> None:
    sites, colour = block["sites"], BRIDGE_COLOURS[block["kind"]]
    inside = [edge for edge in graph.edges if {*edge} <= {*sites}]
    nx.draw_networkx_nodes(graph, places, sites, node_size=170, node_color=colour, ax=axes).set_zorder(0)
    nx.draw_networkx_edges(graph, places, inside, edge_color=colour, width=10, arrows=False, ax=axes)
    _write(axes, str(number), places[sites[0]], -10, ha="right", weight="bold", gid=f"bridge-{number}")


def _write(axes: Axes, text: str, place: tuple[float, float], shift: float, **style: Any) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    axes.annotate(text, place, (shift, 0), textcoords="offset points", va="center", bbox=box, **style)


def _legend(worst: Collection[str]) -> list[Line2D]:
    sites = [Line2D([], [], linestyle="", marker=shape, color=colour, label=kind) for kind, (shape, colour) in SITE_STYLES.items()]
    bridges = [Line2D([], [], linewidth=8, color=colour, label=f"bridge block: {kind}") for kind, colour in BRIDGE_COLOURS.items()]
    ring = Line2D([], [], linestyle="", marker="o", markerfacecolor="none", markeredgecolor=WORST, label="largest errors")
    return sites + bridges + ([ring] if worst else [])
