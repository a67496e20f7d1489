import pandas as pd
from PIL import Image

from qhyvit.reporting.figures import accuracy_figure, save_figure, site_error_figure

ROWS = {"model": "net", "mode": "partial", "seed": 0, "images": 10, "top1_fp32": 90.0}


def draw(tmp_path, name):
    results = pd.DataFrame(
        [
            ROWS | {"method": "fp32", "w_bits": 32, "a_bits": 32, "top1": 90.0},
            ROWS | {"method": "minmax", "w_bits": 8, "a_bits": 8, "top1": 80.0, "drop_low": 5.0, "drop_high": 15.0},
        ]
    )
    figure = accuracy_figure(results)
    save_figure(figure, tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    return figure


def test_the_accuracy_figure_shows_the_values_and_their_intervals(tmp_path):
    axes = draw(tmp_path, "a").axes[0]
    (container,) = axes.containers
    assert container.lines[0].get_ydata().tolist() == [80.0]
    (bar,) = container.lines[2][0].get_segments()
    assert bar[:, 1].tolist() == [75.0, 85.0]
    assert axes.lines[0].get_ydata() == [90.0, 90.0]


def test_files_are_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        draw(tmp_path, name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").width > 600


def test_the_site_figure_has_a_panel_for_each_bit_width():
    errors = pd.DataFrame(
        [
            {"bits": bits, "method": method, "site": site, "relative_error": 0.1}
            for bits in ("w8a8", "w4a4")
            for method in ("minmax", "qhyvit")
            for site in ("one", "two")
        ]
    )
    figure = site_error_figure(errors)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["W8A8", "W4A4"]
    assert all(len(axes.lines) == 2 for axes in figure.axes)
