import pandas as pd
import pytest

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.seeds import seed_spread
from qhyvit.reporting.write import NO_ROWS, write_table

CATALOG = read_catalog(METHODS_FILE)
RUN = {"dataset": "tiny", "model": "net", "mode": "partial", "method": "qhyvit", "w_bits": 8, "a_bits": 8, "images": 10}


def table(*top1):
    fp32 = RUN | {"method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "seed": 0, "top1": 90.0}
    return pd.DataFrame([fp32, *(RUN | {"seed": seed, "top1": value} for seed, value in enumerate(top1))])


def written(folder, results):
    results.to_csv(folder / "results.csv", index=False)
    entry = TABLES["seeds"]
    write_table(entry.make(Sources(CATALOG, {"results": [folder / "results.csv"]})), folder / "seeds", entry.formats, entry.caption)
    return pd.read_csv(folder / "seeds.csv"), (folder / "seeds.md").read_text()


def test_spread_worked_by_hand():
    """Deviations -3, 0 and 3 from 80: the variance of the sample is 18 / 2."""
    (row,) = seed_spread(table(77.0, 80.0, 83.0), CATALOG).to_dict("records")
    assert (row["seeds"], row["top1_mean"], row["top1_min"], row["top1_max"]) == (3, 80, 77, 83)
    assert row["top1_sd"] == pytest.approx(3)


def test_methods_are_not_mixed():
    other = table(10.0, 20.0).assign(method="minmax")
    assert seed_spread(pd.concat([table(77.0, 83.0), other]), CATALOG).top1_mean.tolist() == [15, 80]


def test_table_is_written_in_both_forms(tmp_path):
    rows, text = written(tmp_path, table(77.0, 80.0, 83.0))
    assert len(rows) == 1
    assert "| net     | partial | qhyvit   | W8A8   | 3       | 80.00  | 3.00                 | 77.00    | 83.00     |" in text
    assert NO_ROWS not in text


def test_one_seed_gives_a_header_and_a_note(tmp_path):
    rows, text = written(tmp_path, table(80.0))
    assert rows.empty
    assert {"model", "method", "seeds", "top1_mean", "top1_sd"} <= set(rows.columns)
    assert text.startswith("| model")
    assert text.endswith(f"{NO_ROWS}\n")
