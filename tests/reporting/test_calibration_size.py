import pandas as pd
import pytest

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures.calibration_size import size_figure
from qhyvit.reporting.tables.calibration_size import by_size, by_size_shown

CATALOG = read_catalog(METHODS_FILE)


def result(method, top1, seed=0, images=32, w_bits=8):
    calibrated = {"settings": {"images": [f"{index}.png" for index in range(images)]}}
    described = {"dataset": "d", "model": "net", "mode": "partial", "w_bits": w_bits, "a_bits": 8, "seed": seed}
    return described | {"method": method, "top1": top1, "provenance": {"calibrated": calibrated}}


RESULTS = [
    result("fp32", 90.0),
    *(result("minmax", top1, seed) for seed, top1 in enumerate((89.0, 86.0))),  # drops of 1 and 4 points
    result("minmax", 80.0, images=8),
    result("minmax", 70.0, w_bits=4),
]


def test_drops_are_averaged_over_seeds_per_size():
    table = by_size(RESULTS, CATALOG)
    assert table[["w_bits", "calibration_images", "seeds"]].values.tolist() == [[8, 8, 1], [8, 32, 2], [4, 32, 1]]
    assert table["drop"].tolist() == [10, 2.5, 20]
    assert table.deviation[1] == pytest.approx(4.5**0.5)  # of 1 and 4 around 2.5
    assert pd.isna(table.deviation[0])
    assert by_size_shown(table).iloc[1].tolist() == ["net", "partial", "minmax", "W8A8", "32", "2", "2.50", "2.12", "1.00", "4.00"]
    assert table[["lowest", "highest"]].values.tolist() == [[10, 10], [1, 4], [20, 20]]


def test_equal_drops_are_drawn():
    equal = [result("fp32", 82.65), *(result("minmax", 61.15, seed) for seed in range(3))]
    table = by_size(equal, CATALOG)
    assert table["drop"].item() != table.highest.item()  # the mean is off by rounding
    size_figure(table, CATALOG)


def test_figure_has_a_row_per_bit_width_and_a_point_per_size():
    upper, lower = size_figure(by_size(RESULTS, CATALOG), CATALOG).axes
    assert [len(axes.lines[0].get_xdata()) for axes in (upper, lower)] == [2, 1]


def test_figure_shows_the_first_mode_alone():
    table = by_size(RESULTS, CATALOG)
    upper, lower = size_figure(pd.concat([table, table.assign(mode="full", drop=99)]), CATALOG).axes
    assert [axes.lines[0].get_ydata().tolist() for axes in (upper, lower)] == [[10, 2.5], [20]]
