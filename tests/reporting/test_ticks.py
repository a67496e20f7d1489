"""Axes of drops and of seconds can be read: ticks on both sides of every mark, several in a narrow range, and none on another."""

from itertools import combinations

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures.claims import claims_figure
from qhyvit.reporting.figures.deployment import deployment_figure
from qhyvit.reporting.figures.drop_against_seconds import timing_figure
from qhyvit.reporting.figures.drops import drop_figure

CATALOG = read_catalog(METHODS_FILE)
FOUR = [(8, 8), (6, 6), (4, 8), (4, 4)]
DROPS = pytest.mark.parametrize("drops", [(-4.17, 0.0), (-0.2, 0.3), (2.5, 9.0), (-25.0, 99.0), (0.0, 0.0)])


def results(drops, bits=FOUR[:2]):
    """Runs of two networks, one with each of ``drops``, whose intervals are a tenth of a point and three points wider."""
    rows = [
        {"dataset": "d", "family": "F", "mode": "partial", "method": "qhyvit", "seed": 0, "images": 10, "engine": "openvino"}
        | {"model": model, "w_bits": w_bits, "a_bits": a_bits, "drop": drop, "drop_low": drop - 3, "drop_high": min(drop + 0.1, 100)}
        for model, drop in zip("ab", drops, strict=True)
        for w_bits, a_bits in bits
    ]
    return pd.DataFrame(rows).assign(top1_fp32=75.0, size=1e6).assign(top1=lambda rows: rows.top1_fp32 - rows["drop"])


def times(seconds, bits=FOUR[:2]):
    cells = [{"model": model, "w_bits": w_bits, "a_bits": a_bits, "calibrate": each} for model, each in seconds for w_bits, a_bits in bits]
    return pd.DataFrame(cells).assign(mode="partial", method="qhyvit", quantize=0.0)


def deployed(table):
    return deployment_figure(table, pd.DataFrame(columns=["model", "method", "engine", "relative"]), CATALOG)


def claims(table):
    published = pd.DataFrame([{"model": "a", "method": "qhyvit", "w_bits": 8, "a_bits": 8, "drop": 40.0}])
    return claims_figure(table, published, CATALOG)


def timing(table, seconds=(("a", 30), ("b", 3000))):
    return timing_figure(table, times(seconds, bits=table[["w_bits", "a_bits"]].drop_duplicates().to_numpy()), "partial", CATALOG)


def ticks(axis):
    """The places of the ticks in view."""
    low, high = sorted(axis.get_view_interval())
    return [place for place in axis.get_ticklocs() if low <= place <= high]


def touching(figure):
    """Pairs of labels of ticks in view that overlap."""
    FigureCanvasAgg(figure).draw()
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    labels = [tick.label1 for axis in axes for tick in axis.get_major_ticks() if tick.get_loc() in ticks(axis)]
    boxes = [(label.get_text(), label.get_window_extent()) for label in labels if label.get_visible()]
    return [(first, second) for (first, one), (second, other) in combinations(boxes, 2) if one.overlaps(other)]


@DROPS
@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda table: drop_figure(table, "partial", CATALOG), "xaxis"),
        (claims, "xaxis"),
        (deployed, "xaxis"),
        (timing, "yaxis"),
    ],
    ids=["drops", "claims", "deployment", "timing"],
)
def test_mark_lies_between_two_drops_with_a_tick(draw, name, drops):
    figure = draw(results(drops))
    assert not touching(figure)
    for axes in figure.axes[: 1 if draw is deployed else None]:
        placed = ticks(getattr(axes, name))
        assert placed[0] <= min(drops) <= max(drops) <= placed[-1]
        assert {-1, 0, 1} <= {*placed}


@DROPS
@pytest.mark.parametrize("draw", [lambda table: drop_figure(table, "partial", CATALOG), claims, timing], ids=["drops", "claims", "timing"])
def test_labels_of_four_panels_do_not_touch(draw, drops):
    assert not touching(draw(results(drops, bits=FOUR)))


@pytest.mark.parametrize("slowest", [57, 60, 157, 400, 5_000, 300_000])
def test_axis_of_seconds_has_several_ticks_in_any_range(slowest):
    figure = timing(results((0.0, 1.0)), seconds=(("a", 57), ("b", slowest)))
    assert not touching(figure)
    placed = ticks(figure.axes[0].xaxis)
    assert 3 <= len(placed) <= 9
