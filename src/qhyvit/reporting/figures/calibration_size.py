"""Drop by the number of calibration images."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.style import PAGE, STYLE, add_legend, dodge, error_bars, method_styles
from qhyvit.reporting.read import read_table
from qhyvit.reporting.runs import bit_widths, bits_shown
from qhyvit.reporting.sources import Sources


def make(sources: Sources) -> Figure:
    """Make the figure from calibration_size.csv."""
    return size_figure(read_table(sources.one("calibration_size")), sources.methods)


def size_figure(table: pd.DataFrame, methods: MethodCatalog) -> Figure:
    """Draw the mean drop by number of images, with bars that span the seeds: one row of panels per bit-width, one column per network.

    ``table`` is that of `qhyvit.reporting.tables.calibration_size`; of several modes the first is drawn.
    """
    rows = table[table["mode"] == table["mode"].iloc[0]].assign(bits=bits_shown)
    bits, models, sizes = bit_widths(rows), sorted(rows.model.unique()), sorted(rows.calibration_images.unique())
    styles = method_styles(rows.method, methods)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 1 + 1.7 * len(bits)), layout="constrained")
        grid = figure.subplots(len(bits), len(models), sharex=True, sharey="row", squeeze=False)
        for axes, width in zip(grid, bits, strict=True):
            for panel, model in zip(axes, models, strict=True):
                for shift, (method, style) in zip(dodge(len(styles), 0.3), styles.items(), strict=True):
                    drops = rows[(rows.model == model) & (rows.bits == width) & (rows.method == method)]
                    bars = error_bars(drops.lowest, drops["drop"], drops.highest)
                    panel.errorbar(drops.calibration_images * 2**shift, drops["drop"], bars, **style, linewidth=0.8)
                panel.set_xscale("log", base=2)
                panel.set_xticks(sizes, sizes)
                panel.xaxis.set_minor_locator(NullLocator())
            axes[0].set_ylabel(f"{width}: drop of top-1 (points)")
        for panel, model in zip(grid[0], models, strict=True):
            panel.set_title(model, fontsize=7)
        figure.supxlabel("calibration images")
        add_legend(figure, grid[0][0])
    return figure
