import json

import pandas as pd
import pytest

from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import FP32, read_catalog
from qhyvit.reporting.runs import COLUMNS, in_order, metrics_tree, read_result, read_results, tabulate, write_results
from qhyvit.reporting.tables.accuracy import accuracy_table
from qhyvit.reporting.write import to_markdown

CATALOG = read_catalog(METHODS_FILE)
BASE = {"dataset": "tiny", "model": "net", "family": "F", "seed": 0, "images": 4}


@pytest.fixture
def results(tmp_path):
    """Result files of an FP32 network with 3 of 4 images correct and of a quantized one with 2, at two bit-widths."""
    entries = {
        "fp32": {"method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "top1": 75.0, "correct": "1110"},
        "q8": {"method": "minmax", "mode": "partial", "w_bits": 8, "a_bits": 8, "top1": 75.0, "correct": "1110", "kl": 0.0},
        "q4": {"method": "minmax", "mode": "partial", "w_bits": 4, "a_bits": 8, "top1": 50.0, "correct": "1100", "kl": 0.5},
    }
    paths = []
    for name, entry in entries.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(BASE | entry))
    return tabulate([read_result(path) for path in paths], CATALOG)


def accuracy_of(results):
    return accuracy_table(results[results.method != FP32], CATALOG)


def test_drops_are_against_the_fp32_row(results):
    assert list(results.columns) == COLUMNS
    rows = results.set_index(["method", "w_bits"])
    assert rows.loc[("minmax", 4), "drop"] == 25
    assert rows.loc[("minmax", 4), "drop_low"] == pytest.approx(25 - 52.7, abs=0.05)  # 0.473^4 = 0.05: so few images exclude little
    assert rows.loc[("minmax", 4), "drop_high"] == pytest.approx(25 + 52.7, abs=0.05)
    assert rows.loc[("minmax", 8), "drop"] == 0


def test_results_survive_the_file(results, tmp_path):
    write_results(results, tmp_path / "results.csv")
    read = read_results(tmp_path / "results.csv")
    assert read["mode"].tolist() == ["", "partial", "partial"]
    assert to_markdown(accuracy_of(read)) == to_markdown(accuracy_of(results))


def test_metrics_are_a_tree_for_dvc(results):
    assert metrics_tree(results) == {
        "tiny": {
            "net": {
                "fp32": {"top1": 75.0},
                "minmax-partial": {"w8a8": {"top1": 75.0, "drop": 0.0}, "w4a8": {"top1": 50.0, "drop": 25.0}},
            }
        }
    }


def test_rows_are_in_the_order_of_the_methods_file():
    """FP32 first, then methods as in the file, then unknown ones; partial mode before full, and the widest bits first."""
    order = ["fp32", "percentile", "hyq", "qhyvit-scale", "qhyvit", "qhyvit-cv", "a-method", "zebra"]
    rows = [
        BASE | {"method": method, "mode": mode, "w_bits": bits, "a_bits": bits}
        for mode in ("partial", "full")
        for method in order
        for bits in (8, 4)
    ]
    ordered = in_order(pd.DataFrame(rows).sample(frac=1, random_state=0), CATALOG)
    assert ordered.to_dict("records") == rows


def test_accuracy_table_has_the_widest_bits_first(results):
    table = accuracy_of(results)
    assert list(table.columns) == ["model", "FP32", "mode", "method", "W8A8", "W4A8"]
    w8a8, w4a8 = "75.00 (drop 0.00 [-52.71, 52.71])", "50.00 (drop 25.00 [-27.71, 77.71])"
    assert table.iloc[0].tolist() == ["net", "75.00", "partial", "minmax", w8a8, w4a8]
    assert f"{w4a8} |" in to_markdown(table)


@pytest.mark.parametrize(("content", "message"), [('{"model": "net"}', "not the result of a run"), ("[1", "cannot be read as JSON")])
def test_file_that_is_no_result_is_named(tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"other.json: {message}"):
        read_result(path)


def test_result_without_fp32_is_refused_with_the_model():
    with pytest.raises(InputError, match=r"mobilevit_xxs on cifar10: no FP32 result"):
        tabulate([{"dataset": "cifar10", "model": "mobilevit_xxs", "method": "minmax"}], CATALOG)
