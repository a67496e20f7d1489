"""Figures of sites: long names take neither the height of what is drawn nor that of each other."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures.channel_ranges import channel_range_figure
from qhyvit.reporting.figures.site_errors import site_error_figure

CATALOG = read_catalog(METHODS_FILE)
METHODS = list(CATALOG.labels)
SHORT = [f"layer{place}" for place in range(10)]
LONG = [f"stages.0.blocks.{place}.token_mixer.mixer.conv_kxk.0.conv" for place in range(69)]
LONGER = [f"network.encoder.layer.{place}.{'attention.' * 9}query" for place in range(120)]
NAMES = pytest.mark.parametrize("sites", [SHORT, LONG, LONGER], ids=["short", "long", "longer"])


def site_errors(bits, methods, sites):
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([bits, methods, ["partial"], sites], names=["bits", "method", "mode", "site"])
    return index.to_frame(index=False).assign(relative_error=10 ** generator.uniform(-6, -1, len(index)))


def channels(sites):
    each = pd.DataFrame({"site": np.repeat(sites, 3), "low": 0.0, "high": np.tile([0.1, 1.0, 10.0], len(sites))})
    return each.assign(model="net", operand="input", bridge=False)


def drawn(figure):
    """The figure with its layout, which must stay within the page."""
    FigureCanvasAgg(figure).draw()
    tight = figure.get_tightbbox()
    assert (tight.x0, tight.y0) >= (0, 0)
    assert tight.x1 <= figure.get_figwidth()
    assert tight.y1 <= figure.get_figheight()
    return figure


@NAMES
@pytest.mark.parametrize("count", [2, 16])
def test_method_has_a_line_as_high_as_its_name_whatever_the_names_of_sites(count, sites):
    figure = drawn(site_error_figure(site_errors(["w8a8", "w6a6"], METHODS[:count], sites), CATALOG))
    assert figure.get_figheight() < 10.5
    for axes in figure.axes[:2]:
        names = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert axes.get_window_extent().height / count > max(name.height for name in names)
        assert not any(above.overlaps(below) for above, below in pairwise(names))


@NAMES
def test_ranges_have_the_same_height_whatever_the_names_of_sites(sites):
    axes = drawn(channel_range_figure(channels(sites))).axes[0]
    assert axes.get_window_extent().height / axes.figure.dpi == pytest.approx(1.8, abs=0.2)


def test_long_name_is_whole_and_a_longer_one_keeps_both_ends():
    for sites, start, end in ((LONG, LONG[0], LONG[0]), (LONGER, "network.encoder.layer.0.", ".attention.query")):
        axes = channel_range_figure(channels(sites)).axes[0]
        first = axes.get_xticklabels()[0].get_text()
        assert first.startswith(start)
        assert first.endswith(end)
        assert len(first) <= 60
