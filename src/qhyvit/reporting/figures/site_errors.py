"""Quantization error at each site of one network."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.site_labels import label_height, label_sites
from qhyvit.reporting.figures.style import PAGE, STYLE
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources

LINE = 0.12  # inches of a method, whose name is 0.1 high


def make(sources: Sources) -> Figure:
    """Make the figure from the site errors of runs of one network, files named ``<method>-<mode>-<bits>.sites.csv``."""
    errors = pd.concat([_read(path) for path in sources.all("site_errors")], ignore_index=True)
    return site_error_figure(errors, sources.methods, sources.title)


def site_error_figure(errors: pd.DataFrame, methods: MethodCatalog, title: str = "") -> Figure:
    """Draw the relative error of every site of one network, in order of execution: one panel per bit-width, one line per method.

    Dark is a large error, white none. ``errors`` has the columns bits, method, site and relative_error; full mode has the errors of
    partial mode and is shown once.
    """
    table = errors.drop_duplicates(["bits", "method", "site"])
    bits, order, sites = list(table.bits.unique()), methods.order(table.method), list(table.site.unique())
    positive = table.relative_error[table.relative_error > 0]
    norm = LogNorm(positive.min(), positive.max()) if len(positive) else None
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        height = 0.8 + label_height(sites) + len(bits) * (0.35 + LINE * len(order))
        figure = Figure(figsize=(PAGE, height), layout="constrained")
        panels = figure.subplots(len(bits), 1, squeeze=False, sharex=True)[:, 0]
        for axes, width in zip(panels, bits, strict=True):
            rows = table[table.bits == width].pivot(index="method", columns="site", values="relative_error")
            lines = rows.reindex(index=order, columns=sites)
            image = axes.imshow(lines, norm=norm, cmap="viridis_r", aspect="auto", interpolation="none")
            axes.set_yticks(range(len(order)), [methods.label(name) for name in order], fontsize=7)
            axes.set_title(width.upper(), loc="left")
        label_sites(panels[-1], sites)
        figure.suptitle(title)
        label = "Fisher-weighted: squared error / energy of the output"
        figure.colorbar(image, ax=panels, label=label, location="top", shrink=0.6, aspect=40, pad=0.01)
    return figure


def _read(path: Path) -> pd.DataFrame:
    method, mode, bits = path.name.removesuffix(".sites.csv").rsplit("-", 2)
    return read_table(path).assign(method=method, mode=mode, bits=bits)
