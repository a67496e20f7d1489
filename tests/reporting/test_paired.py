import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from qhyvit.reporting.correctness import encode
from qhyvit.reporting.tables.paired import ablation, paired, paired_shown

IMAGES = 400


def run(model, method, correct, seed=0, images_hash="same"):
    described = {"dataset": "d", "model": model, "mode": "partial", "method": method, "w_bits": 8, "a_bits": 8, "seed": seed}
    return described | {"images": IMAGES, "images_hash": images_hash, "hits": encode(correct)}


def table(*runs):
    return pd.DataFrame(runs).astype({"hits": "string"})


@pytest.fixture
def correct():
    """All images of the search, and all but the first 40 of another method."""
    return np.ones(IMAGES, bool), np.arange(IMAGES) >= 40


def test_the_gain_and_its_interval_by_hand(correct):
    every, most = correct
    (single, mean) = paired(table(run("a", "qhyvit", every), run("a", "minmax", most), run("a", "fp32", every))).to_dict("records")
    assert (single["model"], mean["model"], single["runs"]) == ("a", "mean", 1)
    assert single["gain"] == pytest.approx(10)
    deviation = 100 * (0.1 * 0.9 * IMAGES / (IMAGES - 1)) ** 0.5  # of 40 ones and 360 zeros
    half = t.ppf(0.975, IMAGES - 1) * deviation / IMAGES**0.5
    assert [single["low"], single["high"]] == pytest.approx([10 - half, 10 + half])
    assert single["p"] < 1e-8


def test_the_mean_pairs_images_over_networks_and_seeds(correct):
    every, most = correct
    runs = [run(model, "qhyvit", every, seed) for model in "ab" for seed in (0, 1)]
    runs += [run(model, "minmax", most if model == "a" else every, seed) for model in "ab" for seed in (0, 1)]
    rows = paired(table(*runs)).set_index("model")
    assert rows.gain.to_dict() == pytest.approx({"a": 10, "b": 0, "mean": 5})
    assert rows.runs.to_dict() == {"a": 2, "b": 2, "mean": 4}
    assert rows.loc["b", ["low", "high"]].tolist() == [0, 0]
    assert pd.isna(rows.p["b"])
    assert rows.high["mean"] - rows.low["mean"] == pytest.approx((rows.high["a"] - rows.low["a"]) / 2)


def test_runs_on_other_images_or_seeds_are_no_pairs(correct):
    every, most = correct
    alone = table(run("a", "qhyvit", every), run("a", "minmax", most, images_hash="other"), run("a", "omse", most, seed=1))
    assert paired(alone).empty


def test_a_cell_that_is_more_than_chance_has_an_asterisk(correct):
    every, most = correct
    runs = [run(model, "qhyvit", every) for model in "ab"] + [run("a", "minmax", most), run("b", "minmax", every)]
    (row,) = paired_shown(paired(table(*runs))).to_dict("records")
    assert row["a"].startswith("10.00 [")
    assert row["a"].endswith("]*")
    assert row["b"] == "0.00 [0.00, 0.00]"


def test_the_ablation_compares_each_step_with_the_one_before(correct):
    every, most = correct
    hits = {"qhyvit-scheme": every, "qhyvit-scale": np.arange(IMAGES) >= 100, "qhyvit-granularity": most, "qhyvit": most, "minmax": most}
    rows = ablation(table(*(run("a", method, correct) for method, correct in hits.items())))
    of_network = rows[rows.model == "a"].set_index("method")
    assert list(of_network.index) == ["qhyvit-granularity", "qhyvit-scheme"]  # in order, and qhyvit not without the step before it
    assert of_network.gain.to_list() == pytest.approx([15, 10])
