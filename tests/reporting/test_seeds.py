import pandas as pd
import pytest

from qhyvit.cli.seeds import seeds
from qhyvit.reporting.tables.seeds import seed_spread

RUN = {"dataset": "tiny", "model": "net", "mode": "partial", "method": "qhyvit", "w_bits": 8, "a_bits": 8, "images": 10}


def table(*top1):
    fp32 = RUN | {"method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "seed": 0, "top1": 90.0}
    return pd.DataFrame([fp32, *(RUN | {"seed": seed, "top1": value} for seed, value in enumerate(top1))])


def test_the_spread_worked_by_hand():
    """Deviations -3, 0 and 3 from 80: the variance of the sample is 18 / 2."""
    (row,) = seed_spread(table(77.0, 80.0, 83.0)).to_dict("records")
    assert (row["seeds"], row["top1_mean"], row["top1_min"], row["top1_max"]) == (3, 80, 77, 83)
    assert row["top1_sd"] == pytest.approx(3)


def test_methods_are_not_mixed():
    other = table(10.0, 20.0).assign(method="minmax")
    assert seed_spread(pd.concat([table(77.0, 83.0), other])).top1_mean.tolist() == [15, 80]


def test_the_step_writes_both_forms(tmp_path):
    table(77.0, 80.0, 83.0).to_csv(tmp_path / "results.csv", index=False)
    seeds(tmp_path / "results.csv", tmp_path / "seeds.csv", tmp_path / "seeds.md")
    assert len(pd.read_csv(tmp_path / "seeds.csv")) == 1
    assert (
        "| net     | partial | qhyvit   | W8A8   | 3       | 80.00  | 3.00                 | 77.00    | 83.00     |"
        in (tmp_path / "seeds.md").read_text()
    )


def test_one_seed_is_said_to_be_one(tmp_path):
    table(80.0).to_csv(tmp_path / "results.csv", index=False)
    seeds(tmp_path / "results.csv", tmp_path / "seeds.csv", tmp_path / "seeds.md")
    written = pd.read_csv(tmp_path / "seeds.csv")
    assert written.empty
    assert {"model", "method", "seeds", "top1_mean", "top1_sd"} <= set(written.columns)
    text = (tmp_path / "seeds.md").read_text()
    assert text.startswith("| model")
    assert text.endswith("This experiment has one seed, so there is no spread to show.\n")
