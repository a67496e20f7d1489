"""The figure of what quantization costs at each site of one network."""

import matplotlib as mpl
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from qhyvit.reporting.figures.style import PAGE, STYLE, label_sites


def site_error_figure(errors: pd.DataFrame) -> Figure:
    """The relative error of every site of one network, in order of execution: a panel a bit-width, a line a method.

    It is dark where it is large, and white where there is none. ``errors`` has the columns bits, method, site and relative_error; full mode
    has the errors of partial mode and is shown once.
    """
    table = errors.drop_duplicates(["bits", "method", "site"])
    bits, methods, sites = list(table.bits.unique()), sorted(table.method.unique()), list(table.site.unique())
    positive = table.relative_error[table.relative_error > 0]
    norm = LogNorm(positive.min(), positive.max())
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(PAGE, 2.3 + len(bits) * (0.3 + 0.12 * len(methods))), layout="constrained")
        panels = figure.subplots(len(bits), 1, squeeze=False, sharex=True)[:, 0]
        for axes, width in zip(panels, bits, strict=True):
            rows = table[table.bits == width].pivot(index="method", columns="site", values="relative_error")
            image = axes.imshow(
                rows.reindex(index=methods, columns=sites), norm=norm, cmap="viridis_r", aspect="auto", interpolation="none"
            )
            axes.set_yticks(range(len(methods)), methods, fontsize=7)
            axes.set_title(width.upper(), loc="left")
        label_sites(panels[-1], sites)
        label = "Fisher-weighted squared error / output energy"
        figure.colorbar(image, ax=panels, label=label, location="top", shrink=0.6, aspect=40, pad=0.01)
    return figure
