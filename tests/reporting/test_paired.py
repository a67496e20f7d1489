import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from qhyvit.evaluation.statistics import crossed_mean, unseen
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.correctness import encode
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables import ablation, paired
from qhyvit.reporting.tables.gains import gains, gains_shown
from qhyvit.reporting.tables.paired import headline_pairs

CATALOG = read_catalog(METHODS_FILE)

IMAGES = 400
PAIR = ("qhyvit", "minmax")
COUNTS = "This run has 400 evaluation images and one seed."


def run(model, method, correct, seed=0, images_hash="same"):
    described = {"dataset": "d", "model": model, "mode": "partial", "method": method, "w_bits": 8, "a_bits": 8, "seed": seed}
    return described | {"images": IMAGES, "images_hash": images_hash, "correct": encode(correct)}


def table(*runs):
    return pd.DataFrame(runs).astype({"correct": "string"})


def over_minmax(table):
    return gains(table, [("qhyvit", "minmax")], CATALOG)


@pytest.fixture
def correct():
    """All images of the search, and all but the first 40 of another method."""
    return np.ones(IMAGES, bool), np.arange(IMAGES) >= 40


def test_gain_and_interval_worked_by_hand(correct):
    every, most = correct
    (single,) = over_minmax(table(run("a", "qhyvit", every), run("a", "minmax", most), run("a", "fp32", every))).to_dict("records")
    assert (single["model"], single["runs"]) == ("a", 1)  # a mean of one network would be tested twice
    assert single["gain"] == pytest.approx(10)
    deviation = 100 * (0.1 * 0.9 * IMAGES / (IMAGES - 1)) ** 0.5  # of 40 ones and 360 zeros
    half = t.ppf(0.975, IMAGES - 1) * deviation / IMAGES**0.5
    assert [single["low"], single["high"]] == pytest.approx([10 - half, 10 + half])
    assert single["p"] < 1e-8


def test_p_values_are_adjusted_for_all_rows(correct):
    """Three equal tests with p = 0.03 each: Holm multiplies by 3."""
    every, _ = correct
    losing = np.arange(IMAGES) >= 5
    alone = over_minmax(table(run("a", "qhyvit", every), run("a", "minmax", losing))).p.item()
    assert 0.02 < alone < 0.05
    baselines = ("minmax", "percentile", "omse")
    rows = gains(
        table(run("a", "qhyvit", every), *(run("a", name, losing) for name in baselines)), [("qhyvit", name) for name in baselines], CATALOG
    )
    assert rows.p.tolist() == pytest.approx([3 * alone] * 3)
    assert not gains_shown(rows)["a"].str.endswith("*").any()


def test_mean_pairs_images_over_networks_and_seeds(correct):
    every, most = correct
    runs = [run(model, "qhyvit", every, seed) for model in "ab" for seed in (0, 1)]
    runs += [run(model, "minmax", most if model == "a" else every, seed) for model in "ab" for seed in (0, 1)]
    rows = over_minmax(table(*runs)).set_index("model")
    assert rows.gain.to_dict() == pytest.approx({"a": 10, "b": 0, "mean": 5})
    assert rows.runs.to_dict() == {"a": 2, "b": 2, "mean": 4}
    assert set(rows.seeds) == {2}
    assert rows.loc["b", ["low", "high"]].tolist() == [-unseen(IMAGES), unseen(IMAGES)]
    assert pd.isna(rows.p["b"])
    assert rows.high["mean"] - rows.low["mean"] == pytest.approx((rows.high["a"] - rows.low["a"]) / 2)


def test_networks_are_averaged_before_seeds_are_compared(correct):
    """Seed 1 takes from one network what it gives to the other, so their mean is the same in both draws."""
    every, most = correct
    lost = {("a", 0): most, ("a", 1): every, ("b", 0): every, ("b", 1): most}
    runs = [run(model, method, every if method == "qhyvit" else hits, seed) for (model, seed), hits in lost.items() for method in PAIR]
    rows = over_minmax(table(*runs)).set_index("model")
    of_draw = np.array([every.astype(float) - most, np.zeros(IMAGES)])
    expected, p = crossed_mean(100 * of_draw)
    assert rows.loc["a", ["gain", "low", "high"]].tolist() == pytest.approx(list(expected))
    assert rows.high["mean"] - rows.low["mean"] < 0.3 * (expected.high - expected.low)
    assert rows.p["mean"] < 0.05 < p


def of_seeds(seeds, correct):
    """Runs with the ``seeds`` of each network, of which b alone gains."""
    every, most = correct
    lost = {"a": every, "b": most}
    return table(
        *(
            run(model, method, every if method == "qhyvit" else lost[model], seed)
            for model in seeds
            for seed in seeds[model]
            for method in PAIR
        )
    )


def test_networks_with_more_seeds_weigh_no_more_in_the_mean(correct):
    rows = over_minmax(of_seeds({"a": (0, 1, 2), "b": (0,)}, correct)).set_index("model")
    assert rows.gain.to_dict() == pytest.approx({"a": 0, "b": 10, "mean": 5})
    assert rows.seeds.to_dict() == {"a": 3, "b": 1, "mean": 1}
    assert rows.runs["mean"] == 2


def test_networks_without_a_seed_in_common_have_no_mean(correct):
    rows = over_minmax(of_seeds({"a": (0, 1), "b": (2,)}, correct))
    assert list(rows.model) == ["a", "b"]
    assert (gains_shown(rows)["mean"] == "").all()


def test_runs_on_other_images_or_seeds_are_no_pairs(correct):
    every, most = correct
    alone = table(run("a", "qhyvit", every), run("a", "minmax", most, images_hash="other"), run("a", "omse", most, seed=1))
    assert gains(alone, [("qhyvit", "minmax"), ("qhyvit", "omse")], CATALOG).empty


def test_gain_beyond_chance_has_an_asterisk(correct):
    every, most = correct
    runs = [run(model, "qhyvit", every) for model in "ab"] + [run("a", "minmax", most), run("b", "minmax", every)]
    (row,) = gains_shown(over_minmax(table(*runs))).to_dict("records")
    assert row["a"].startswith("10.00 [")
    assert row["a"].endswith("]*")
    assert row["b"] == "0.00 [-0.75, 0.75]"


def made(module, tmp_path, runs):
    """The rows and the note that a table has for runs in correct.csv."""
    table(*runs).to_csv(tmp_path / "correct.csv", index=False)
    return module.make(Sources(CATALOG, {"correct": [tmp_path / "correct.csv"]}))


def test_ablation_compares_each_step_with_the_one_before(correct, tmp_path):
    every, most = correct
    of_method = {"qhyvit-scheme": every, "qhyvit-scale": np.arange(IMAGES) >= 100, "qhyvit-granularity": most, "qhyvit-cv": most}
    rows = made(ablation, tmp_path, [run("a", method, images) for method, images in of_method.items()]).rows
    of_network = rows[rows.model == "a"].set_index("method")
    assert list(of_network.index) == ["qhyvit-granularity", "qhyvit-scheme"]  # qhyvit-cv has no step before it here
    assert list(of_network.baseline) == ["qhyvit-scale", "qhyvit-granularity"]
    assert of_network.gain.to_list() == pytest.approx([15, 10])


def test_headline_has_both_methods_and_compares_them_once():
    ran = {"fp32", "minmax", "hyq", "qhyvit-cv", "qhyvit"}
    assert headline_pairs(ran, CATALOG) == [
        ("qhyvit", "minmax"),
        ("qhyvit", "hyq"),
        ("qhyvit-cv", "minmax"),
        ("qhyvit-cv", "hyq"),
        ("qhyvit-cv", "qhyvit"),
    ]


@pytest.mark.parametrize(
    ("method", "note"),
    [
        ("qhyvit", COUNTS),
        ("qhyvit-cv", f"This run has no `qhyvit`, the paper's method: gains are those of `qhyvit-cv`. {COUNTS}"),
        ("hyq", "This run has no `qhyvit`, the paper's method."),
    ],
)
def test_run_without_the_papers_method_says_so(correct, tmp_path, method, note):
    every, most = correct
    made_table = made(paired, tmp_path, [run("a", method, every), run("a", "minmax", most)])
    assert made_table.note == note
    assert set(made_table.rows.method) == ({method} if method != "hyq" else set())
