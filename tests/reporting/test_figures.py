"""Figures of results: their marks by hand, one look per method, and room for sixteen methods on a printed page."""

import re
from dataclasses import replace
from html import unescape
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures.ablation import ablation_figure
from qhyvit.reporting.figures.calibration_size import size_figure
from qhyvit.reporting.figures.drop_against_seconds import timing_figure
from qhyvit.reporting.figures.drops import drop_figure
from qhyvit.reporting.figures.seeds import seed_figure
from qhyvit.reporting.figures.site_errors import site_error_figure
from qhyvit.reporting.figures.style import PAGE, method_styles, save_figure

RUN = {"dataset": "d", "family": "F", "model": "net", "mode": "partial", "seed": 0, "images": 10, "top1_fp32": 90.0}
CATALOG = read_catalog(METHODS_FILE)
METHODS = list(CATALOG.labels)
STEPS = list(CATALOG.steps)
NETWORKS = {"mobilevit_xxs": "MobileViTv1", "mobile_former_26m": "Mobile-Former", "efficientformerv2_s0": "EfficientFormerV2"}


def run(method="minmax", top1=80.0, bits=8, **changes):
    """A row of results.csv with an interval of five points to both sides."""
    drop = 90.0 - top1
    values = {"method": method, "top1": top1, "drop": drop, "drop_low": drop - 5, "drop_high": drop + 5}
    return RUN | values | {"w_bits": bits, "a_bits": bits} | changes


def results(*runs):
    fp32 = run("fp32", 90.0, 32, mode="", drop=np.nan, drop_low=np.nan, drop_high=np.nan)
    return pd.DataFrame([fp32, *runs])


@pytest.fixture(scope="module")
def many():
    """All methods at four bit-widths on three networks with three seeds, in both modes."""
    generator = np.random.default_rng(0)
    runs = [
        run(method, generator.uniform(10, 90), w_bits, a_bits=a_bits, mode=mode, seed=seed, model=model, family=family)
        for (model, family), method, (w_bits, a_bits), mode, seed in product(
            NETWORKS.items(), METHODS, [(8, 8), (6, 6), (4, 8), (4, 4)], ["partial", "full"], range(3)
        )
    ]
    return results(*runs)


def seconds_of(table, calibrate=10.0, quantize=90.0):
    return table[table.method != "fp32"][["model", "mode", "method", "w_bits", "a_bits"]].drop_duplicates().assign(
        calibrate=calibrate, quantize=quantize
    )  # fmt: skip


def sizes_of(table):
    """A table of `calibration_size` with one size."""
    return table[table.method != "fp32"].assign(lowest=1.0, highest=3.0, seeds=2, deviation=0.5, calibration_images=8, drop=2.0)


def points(container):
    """The places of the marks of an errorbar, and the ends of its bars."""
    marks, _, (bars,) = container.lines
    return marks.get_xydata().tolist(), [segment.tolist() for segment in bars.get_segments()]


def test_marks_of_methods_differ_without_their_colour():
    shapes = {(style["marker"], style["markerfacecolor"] == "white") for style in method_styles(METHODS, CATALOG).values()}
    assert len(shapes) == len(METHODS)


def looks(figure):
    """Colour, marker and face of each label in the panels of a figure."""
    lines = [line for axes in figure.axes for line in axes.lines]
    marks = [container.lines[0] for axes in figure.axes for container in axes.containers]
    labelled = [(line.get_label(), line) for line in lines] + [
        (container.get_label(), mark) for axes in figure.axes for container, mark in zip(axes.containers, marks, strict=False)
    ]
    names = set(CATALOG.labels.values())
    opened = {"white", "none"}
    return {
        label: (line.get_color(), line.get_marker(), line.get_markerfacecolor() in opened) for label, line in labelled if label in names
    }


def test_method_of_two_experiments_looks_the_same():
    """Experiments have other methods, in another order, and one has a method that the methods file does not know."""
    first = results(*(run(method) for method in ("qhyvit-cv", "percentile", "qhyvit")))
    second = results(*(run(method) for method in ("another", "minmax", "qhyvit", "hyq", "percentile")))
    drawn = [looks(timing_figure(table, seconds_of(table), "partial", CATALOG)) for table in (first, second)]
    drawn += [looks(size_figure(sizes_of(table), CATALOG)) for table in (first, second)]
    assert [list(each) for each in drawn] == 2 * [
        ["Percentile", "Q-HyViT", "Q-HyViT-CV (ours)"],
        ["Min-max", "Percentile", "HyQ", "Q-HyViT"],
    ]
    for label in ("Percentile", "Q-HyViT"):
        assert len({each[label] for each in drawn}) == 1
    assert drawn[0]["Percentile"][0] != drawn[0]["Q-HyViT-CV (ours)"][0]


def parts_outside(figure):
    """Marks of a figure that lie outside the axes that clip them, in whole or in part."""
    FigureCanvasAgg(figure).draw()
    outside = []
    for axes in figure.axes:
        frame = axes.get_window_extent()
        for line in axes.lines:
            if line.get_marker() in ("None", "", "|", "_") or not line.get_clip_on():
                continue
            half = line.get_markersize() / 2 * figure.dpi / 72
            for x, y in axes.transData.transform(line.get_xydata()):
                if np.isfinite([x, y]).all() and not (
                    frame.x0 <= x - half <= x + half <= frame.x1 and frame.y0 <= y - half <= y + half <= frame.y1
                ):
                    outside.append((axes.get_title(loc="left"), line.get_label(), x, y))
    return outside


@pytest.mark.parametrize("top1", [[100.0, 0.0], [89.9, 90.0], [90.0, 50.0], [84.9, 10.0]])
@pytest.mark.parametrize("draw", [drop_figure, seed_figure, ablation_figure, timing_figure])
def test_no_mark_is_cut_off_at_an_edge(draw, top1):
    runs = [
        run(method, value, model=model, drop_low=90 - value, drop_high=90 - value)
        for model, value in zip("ab", top1, strict=True)
        for method in STEPS
    ]
    table = results(*runs)
    figure = draw(table, seconds_of(table), "partial", CATALOG) if draw is timing_figure else draw(table, "partial", CATALOG)
    assert parts_outside(figure) == []


def test_parts_outside_finds_a_mark_at_the_edge():
    figure = drop_figure(results(run(top1=80.0)), "partial", CATALOG)
    figure.axes[0].set_xlim(0, 10)
    assert parts_outside(figure)


def test_modes_are_kept_apart():
    table = results(run(top1=75.0), run(top1=10.0, mode="full"), run(top1=60.0, bits=4))
    panels = drop_figure(table, "partial", CATALOG).axes
    assert [points(axes.containers[0])[0] for axes in panels] == [[[15, 0]], [[30, 0]]]


def test_drops_and_their_intervals():
    table = results(run("a", 80.0), run("b", 60.0), run("a", 50.0, bits=4))
    figure = drop_figure(table, "partial", CATALOG)
    w8a8, w4a4 = figure.axes
    assert [axes.get_title(loc="left") for axes in (w8a8, w4a4)] == ["W8A8", "W4A4"]
    assert [label.get_text() for label in w8a8.get_yticklabels()] == ["a", "b"]
    assert points(w8a8.containers[0]) == ([[10, 0], [30, 1]], [[[5, 0], [15, 0]], [[25, 1], [35, 1]]])
    assert points(w4a4.containers[0])[0][0] == [40, 0]


def test_seed_is_drawn_relative_to_the_mean():
    table = results(*(run(top1=top1, seed=seed) for seed, top1 in enumerate((80.0, 81.0, 85.0))))
    marks = seed_figure(table, "partial", CATALOG).axes[0].lines[0]
    assert marks.get_xdata() == pytest.approx([-2, -1, 3])
    assert len(set(marks.get_ydata())) == 3  # equal seeds do not hide each other
    assert seed_figure(results(run(), run(seed=1)), "partial", CATALOG).axes[0].get_xlim() == (-1, 1)  # equal seeds


def test_ablation_steps_are_in_the_order_of_the_file():
    drops = {"qhyvit-scale": 10, "qhyvit-granularity": 6, "qhyvit-scheme": 4, "qhyvit": 2, "qhyvit-cv": 1}
    table = results(*(run(method, 90.0 - drop) for method, drop in drops.items()))
    axes = ablation_figure(table, "partial", CATALOG).axes[0]
    steps = ["scale", "+ granularity", "+ scheme", "+ bridge blocks", "+ cross-validation"]
    assert [label.get_text() for label in axes.get_xticklabels()] == steps
    marks, bars = points(axes.containers[0])
    assert marks == [[0, 10], [1, 6], [2, 4], [3, 2], [4, 1]]
    assert bars[0] == [[0, 5], [0, 15]]


def test_mean_of_equal_drops_has_no_bar():
    mean = sum(3 * [0.1]) / 3  # above 0.1 by rounding
    table = results(*(run(method, drop=mean, drop_low=0.1, drop_high=0.1) for method in STEPS))
    marks, bars = points(ablation_figure(table, "partial", CATALOG).axes[0].containers[0])
    assert marks[0] == pytest.approx([0, 0.1])
    assert bars[0][0] == pytest.approx([0, 0.1])
    assert bars[0][1] == pytest.approx([0, 0.1])


def test_ablation_without_all_steps_is_refused():
    with pytest.raises(InputError, match="no run of qhyvit-granularity, qhyvit-scheme, qhyvit, qhyvit-cv in mode 'partial'"):
        ablation_figure(results(run("qhyvit-scale")), "partial", CATALOG)


@pytest.mark.parametrize("figure", [drop_figure, seed_figure, ablation_figure])
def test_mode_without_runs_is_refused(figure):
    with pytest.raises(InputError, match="no run is in mode 'full'; choose another mode"):
        figure(results(run()), "full", CATALOG)


def test_drop_against_time_worked_by_hand():
    table = results(run(top1=80.0), run(top1=70.0, model="other"))
    seconds = seconds_of(table).assign(quantize=[20.0, 40.0])
    networks, mean = timing_figure(table, seconds, "partial", CATALOG).axes[0].lines[:2]
    assert networks.get_xydata().tolist() == [[30, 10], [50, 20]]
    assert mean.get_xydata().tolist() == [[40, 15]]


def test_drop_against_time_is_the_mean_over_seeds():
    table = results(run(top1=80.0), run(top1=70.0, seed=1))
    marks = timing_figure(table, seconds_of(table), "partial", CATALOG).axes[0].lines[0]
    assert marks.get_xydata().tolist() == [[100, 15]]


def test_mean_against_time_is_over_networks_whose_time_is_known():
    table = results(run(top1=80.0), run(top1=70.0, model="other"))
    networks, mean = timing_figure(table, seconds_of(table).assign(quantize=[20.0, np.nan]), "partial", CATALOG).axes[0].lines[:2]
    assert networks.get_xydata().tolist() == mean.get_xydata().tolist() == [[30, 10]]


def test_run_of_unknown_time_has_no_mark(tmp_path):
    table = results(run())
    figure = timing_figure(table, seconds_of(table, quantize=np.nan), "partial", CATALOG)
    save_figure(figure, tmp_path / "time.svg", tmp_path / "time.png")
    assert np.isnan(figure.axes[0].lines[0].get_xdata()).all()


def test_site_errors_in_order_of_execution():
    errors = pd.DataFrame(
        [
            {"bits": bits, "method": method, "mode": mode, "site": site, "relative_error": error}
            for bits in ("w8a8", "w4a4")
            for method, errors in {"qhyvit": (0.1, 0.0), "minmax": (0.3, 0.4)}.items()
            for mode in ("partial", "full")  # which rounds the operands of sites alike
            for site, error in zip(("stem", "head"), errors, strict=True)
        ]
    )
    figure = site_error_figure(errors, CATALOG, "net")
    *panels, _ = figure.axes
    assert figure.get_suptitle() == "net"
    assert [axes.get_title(loc="left") for axes in panels] == ["W8A8", "W4A4"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["Min-max", "Q-HyViT"]
    image = panels[0].images[0]
    assert image.get_array().tolist() == [[0.3, 0.4], [0.1, 0.0]]
    assert (image.norm.vmin, image.norm.vmax) == (0.1, 0.4)  # no error has no place on a logarithmic scale
    assert [label.get_text() for label in panels[-1].get_xticklabels()] == ["stem", "head"]


def test_saved_figure_has_equal_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        save_figure(drop_figure(results(run()), "partial", CATALOG), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    for end in ("svg", "png"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()
    assert Image.open(tmp_path / "a.png").width > 1000


LABELS = ("costs a $b", "$x$ and $\\frac{", "$$", r"\$ escaped", "10$^{3")


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("draw", [drop_figure, seed_figure, timing_figure])
def test_dollars_in_a_label_are_drawn_as_they_are(draw, label, tmp_path):
    table, catalog = results(run(), run("qhyvit", 85.0)), replace(CATALOG, labels={**CATALOG.labels, "minmax": label})
    figure = draw(table, seconds_of(table), "partial", catalog) if draw is timing_figure else draw(table, "partial", catalog)
    save_figure(figure, tmp_path / "figure.svg", tmp_path / "figure.png")
    assert label in unescape((tmp_path / "figure.svg").read_text())


def test_powers_of_ten_on_an_axis_stay_formulas(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.set(xscale="log", xlim=(1, 1e6), title="a $b$")
    axes.set_yticks([0], ["$10^{-3}$"])
    save_figure(figure, tmp_path / "figure.svg", tmp_path / "figure.png")
    drawn = (tmp_path / "figure.svg").read_text()
    assert ">a $b$</text>" in drawn
    assert not re.search(r"<text[^>]*>[^<]*(mathdefault|10\^)", drawn)


@pytest.mark.parametrize("methods", [METHODS, STEPS], ids=["all methods", "few methods"])
@pytest.mark.parametrize("draw", [drop_figure, seed_figure, ablation_figure, timing_figure])
def test_figure_fits_a_page(many, draw, methods):
    """Nothing leaves the page, and the legend, the panels and the labels of the whole figure are clear of each other."""
    table = many[many.method.isin(["fp32", *methods]) & ((many.w_bits > 4) | (methods is METHODS))]
    table = table[table.seed == 0] if draw in (drop_figure, ablation_figure) else table
    figure = draw(table, seconds_of(table), "partial", CATALOG) if draw is timing_figure else draw(table, "partial", CATALOG)
    FigureCanvasAgg(figure).draw()
    assert (figure.get_figwidth(), figure.get_figheight() < 10.5) == (PAGE, True)
    tight = figure.get_tightbbox()
    assert tight.xmin >= 0
    assert tight.xmax <= figure.get_figwidth()
    assert tight.ymin >= 0
    assert tight.ymax <= figure.get_figheight()
    boxes = [part.get_tightbbox().padded(-1) for part in (*figure.legends, *figure.texts, *figure.axes)]
    assert not [(first, second) for first, second in combinations(boxes, 2) if first.overlaps(second)]


def test_calibration_sizes_have_a_panel_per_network_and_bits():
    shape = {"dataset": "d", "mode": "partial", "method": "minmax", "a_bits": 8, "seeds": 2, "deviation": 0.1}
    sizes = [
        shape | {"model": model, "w_bits": bits, "calibration_images": images, "drop": drop, "lowest": drop - 1, "highest": drop + 2}
        for model, bits, images, drop in [("a", 8, 8, 3.0), ("a", 8, 32, 2.0), ("a", 4, 32, 9.0), ("b", 8, 8, 1.0)]
    ]
    panels = size_figure(pd.DataFrame(sizes), CATALOG).axes
    assert len(panels) == 4
    assert points(panels[0].containers[0]) == ([[8, 3], [32, 2]], [[[8, 2], [8, 5]], [[32, 1], [32, 4]]])
    assert points(panels[2].containers[0])[0] == [[32, 9]]
