import pandas as pd
import pytest

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.joint import compared

CATALOG = read_catalog(METHODS_FILE)


def run(method, seed, kl, top1, model="net"):
    described = {"dataset": "tiny", "model": model, "mode": "partial", "method": method, "w_bits": 8, "a_bits": 8, "seed": seed}
    return described | {"images": 10, "kl": kl, "top1": top1}


RESULTS = pd.DataFrame(
    [
        run("qhyvit-scheme", 0, 0.2, 80.0),
        run("qhyvit-scheme", 1, 0.4, 70.0),
        run("qhyvit-joint", 0, 0.1, 81.0),
        run("qhyvit-joint", 1, 0.4, 68.0),
        run("qhyvit", 0, 0.2, 80.0),
        run("qhyvit", 2, 9.0, 10.0),  # no other run has this seed
        run("minmax", 0, 5.0, 10.0),
        run("qhyvit-joint", 0, 5.0, 10.0, model="alone"),
    ]
)


def test_each_seed_is_compared_with_the_run_without_joint_search():
    rows = compared(RESULTS, CATALOG).set_index("method")
    assert list(rows.index) == ["qhyvit", "qhyvit-joint"]
    row = rows.loc["qhyvit-joint"]
    assert (row.seeds, row.kl_without, row.kl, row.top1_without, row.top1) == pytest.approx((2, 0.3, 0.25, 75, 74.5))
    assert (row.kl_ratio_mean, row.kl_ratio_min, row.kl_ratio_max) == pytest.approx((0.75, 0.5, 1))
    assert (row.gain_mean, row.gain_min, row.gain_max) == pytest.approx((-0.5, -2, 1))
    assert (rows.loc["qhyvit"].seeds, rows.loc["qhyvit"].gain_mean) == (1, 0)


def test_table_shows_changes_with_their_extremes(tmp_path):
    RESULTS.to_csv(tmp_path / "results.csv", index=False)
    shown = TABLES["joint"].make(Sources(CATALOG, {"results": [tmp_path / "results.csv"]})).shown
    assert shown.loc[1, ["method", "KL ratio", "gain"]].tolist() == ["qhyvit-joint", "0.75 [0.50, 1.00]", "-0.50 [-2.00, 1.00]"]
