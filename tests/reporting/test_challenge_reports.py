import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from qhyvit.reporting.figures.bridge_sites import bridge_figure
from qhyvit.reporting.figures.channel_ranges import channel_range_figure
from qhyvit.reporting.figures.style import BRIDGE, OTHER, save_figure
from qhyvit.reporting.figures.zero_point_overflow import overflow_figure
from qhyvit.reporting.tables.challenges_by_network import challenge_table

COLUMNS = ["site", "operand", "bridge", "channels", "ratio", "overflowing_channels", "channel_error_clipped", "channel_error_widened"]
ACTIVATIONS = pd.DataFrame(
    [
        ("stem", "input", False, 4, 2.0, 0, 1.0, 1.0),
        ("bridge", "input", True, 8, 5.0, 2, 0.5, 0.01),
        ("fc", "input", False, 10, 4.0, 5, 0.1, 0.03),
        ("matmul1", "left", False, 2, 9.0, 2, 9.0, 9.0),
    ],
    columns=COLUMNS,
).assign(model="net")
NETWORK = {
    "model": "net",
    "parameters": 1234,
    "norms": {"batch_norm": {"all": 3, "folded": 2, "bridge": 0}, "layer_norm": {"all": 1, "folded": 0, "bridge": 1}},
    "residual_site_share": 0.5,
    "residual_mac_share": 0.25,
}


def test_row_of_a_network_worked_by_hand():
    (row,) = challenge_table(ACTIVATIONS, [NETWORK]).to_numpy().tolist()
    network, ratios = ["net", "1,234", "50% (25%)", "3 (2)", "1", "0"], ["5.00", "3.00"]
    assert row == [*network, *ratios, "2 of 8", "5 of 14", "0.3", "0.02"]  # the product and, for errors, the stem stay out


def test_network_without_bridges_or_overflow_has_a_row():
    stem = ACTIVATIONS[ACTIVATIONS.site == "stem"]
    (row,) = challenge_table(stem, [NETWORK]).to_numpy().tolist()
    assert row[6:] == ["none", "2.00", "0 of 0", "0 of 4", "none", "none"]


def test_share_of_products_that_stay_fp32_has_a_column_where_there_are_some():
    table = challenge_table(ACTIVATIONS, [NETWORK | {"unquantized_mac_share": 0.1234}, NETWORK | {"unquantized_mac_share": 0.0}])
    assert list(table["MACs that stay FP32"]) == ["12.3%", "0.0%"]
    assert "MACs that stay FP32" not in challenge_table(ACTIVATIONS, [NETWORK | {"unquantized_mac_share": 0.0}])


def test_bars_are_the_shares_of_overflowing_channels():
    figure = overflow_figure(pd.concat([ACTIVATIONS, ACTIVATIONS.assign(model="other")]))
    assert len(figure.axes) == 2
    (bars,) = figure.axes[0].containers
    assert [bar.get_height() for bar in bars] == [0, 25, 50]
    assert figure.axes[0].get_title(loc="left") == "net: 2 of 8 channels overflow at bridge sites, 5 of 14 at others"
    assert figure.axes[0].get_ylim() == (0, 50)
    none = overflow_figure(ACTIVATIONS.assign(bridge=False))
    assert none.axes[0].get_title(loc="left") == "net: 7 of 22 channels overflow"
    assert [text.get_text() for text in none.legends[0].get_texts()] == ["other site"]


def test_networks_without_overflow_are_named_in_a_note():
    none = ACTIVATIONS.assign(model="other", overflowing_channels=0)
    few = ACTIVATIONS.assign(model="third", channels=1000, overflowing_channels=[0, 3, 0, 900])  # 0.3 % of one site; a product's heads
    figure = overflow_figure(pd.concat([ACTIVATIONS, none, few]))
    assert [axes.get_title(loc="left").partition(":")[0] for axes in figure.axes] == ["net"]
    assert "other (0 of 22 channels), third (3 of 3,000 channels)." in figure.get_supxlabel().replace("\n", " ")


def test_overflow_nowhere_gives_a_note_without_panels(tmp_path):
    figure = overflow_figure(ACTIVATIONS.assign(overflowing_channels=0))
    assert figure.axes == []
    save_figure(figure, tmp_path / "none.svg", tmp_path / "none.png")
    assert "net (0 of 22 channels)" in (tmp_path / "none.svg").read_text()


def test_channel_ranges_are_in_order_of_execution(tmp_path):
    intervals = [(1, 2), (2, 5), (-9, 1), (0, 0)]
    rows = [(site, "input", site == "stem", *interval) for site in ("stem", "fc") for interval in intervals]
    channels = pd.DataFrame([*rows, ("fc", "left", False, 0, 5)], columns=["site", "operand", "bridge", "low", "high"]).assign(model="net")
    axes = channel_range_figure(channels).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["stem", "fc"]
    span, middle = axes.collections[:2]
    assert [segment[:, 1].tolist() for segment in span.get_segments()] == [[1, 10], [1, 10]]  # the constant channel is left out
    assert axes.get_title() == "net: 6 of 8 channels at 2 sites"
    assert [segment[:, 1].tolist() for segment in middle.get_segments()] == [[2, 6.5], [2, 6.5]]
    assert axes.collections[2].get_offsets()[:, 1].tolist() == [3, 3]
    assert [to_hex(colour).upper() for colour in span.get_colors()] == [BRIDGE, OTHER]
    for name in ("a", "b"):
        save_figure(channel_range_figure(channels), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_site_of_constant_channels_keeps_its_place():
    rows = [("stem", 0, 2), ("constant", 3, 3), ("fc", 0, 5)]
    channels = pd.DataFrame(
        [(site, "input", False, low, high) for site, low, high in rows], columns=["site", "operand", "bridge", "low", "high"]
    )
    figure = channel_range_figure(channels.assign(model="net"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["stem", "constant", "fc"]
    places = axes.collections[2].get_offsets()
    assert places[~np.ma.getmaskarray(places).any(axis=1)].tolist() == [[0, 2], [2, 5]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["other site"]


def test_bridge_sites_are_set_against_others():
    """Two channels a factor 100 apart lie a factor 10 to both sides of their median in the logarithm, at each site for itself."""
    widths = {"stem": (1, 100), "fc": (5, 500), "bridge": (2, 2)}  # equal ranges have no density
    rows = [("net", site, "input", site == "bridge", 0, width) for site, each in widths.items() for width in each]
    constant = ("net", "stem", "input", False, 3, 3)
    channels = pd.DataFrame([*rows, constant], columns=["model", "site", "operand", "bridge", "low", "high"])
    ranges, shares = bridge_figure(channels, ACTIVATIONS).axes
    (violin, *_) = ranges.collections  # and the bar of its middle half, with its outline
    densest = violin.get_paths()[0].vertices
    assert densest[:, 0].min() == pytest.approx(np.log10(1 / 50.5))
    assert densest[:, 0].max() == pytest.approx(np.log10(100 / 50.5))
    assert [bar.get_width() for container in shares.containers for bar in container] == pytest.approx([25, 100 * 5 / 14])
    sites = [marks.get_offsets()[:, 0].tolist() for marks in shares.collections]
    assert sites == [[25], [0, 50]]
    above, below = (container[0] for container in shares.containers)
    assert above.get_hatch()
    assert not below.get_hatch()
    assert above.get_y() < below.get_y()  # on an axis that runs downwards
