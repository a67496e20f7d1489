import json

import pytest

from qhyvit.errors import InputError
from qhyvit.reporting.runs import COLUMNS, metrics_tree, read_results, results_table, tabulated, write_results
from qhyvit.reporting.tables.accuracy import accuracy_table, to_markdown

BASE = {"dataset": "tiny", "model": "net", "family": "F", "seed": 0, "images": 4, "top5": 100.0}


@pytest.fixture
def results(tmp_path):
    """Result files of an FP32 network that hits 3 of 4 and of a quantized one that hits 2, at two bit-widths."""
    entries = {
        "fp32": {"method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "top1": 75.0, "correct": "1110"},
        "q8": {"method": "minmax", "mode": "partial", "w_bits": 8, "a_bits": 8, "top1": 75.0, "correct": "1110", "kl": 0.0},
        "q4": {"method": "minmax", "mode": "partial", "w_bits": 4, "a_bits": 8, "top1": 50.0, "correct": "1100", "kl": 0.5},
    }
    paths = []
    for name, entry in entries.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(BASE | entry))
    return results_table(paths)


def test_drops_are_against_the_fp32_row(results):
    assert list(results.columns) == COLUMNS
    rows = results.set_index(["method", "w_bits"])
    assert rows.loc[("minmax", 4), "drop"] == 25
    assert rows.loc[("minmax", 4), "drop_low"] == 0
    assert rows.loc[("minmax", 4), "drop_high"] == 75  # 3 of 4 draws: P(4 of 4) = 0.004 lies outside the 95 %
    assert rows.loc[("minmax", 8), "drop"] == 0


def test_results_survive_the_file(results, tmp_path):
    write_results(results, tmp_path / "results.csv")
    read = read_results(tmp_path / "results.csv")
    assert read["mode"].tolist() == ["", "partial", "partial"]
    assert to_markdown(accuracy_table(read)) == to_markdown(accuracy_table(results))


def test_metrics_are_a_tree_for_dvc(results):
    assert metrics_tree(results) == {
        "tiny": {
            "net": {
                "fp32": {"top1": 75.0},
                "minmax-partial": {"w8a8": {"top1": 75.0, "drop": 0.0}, "w4a8": {"top1": 50.0, "drop": 25.0}},
            }
        }
    }


def test_the_table_has_the_widest_bits_first(results):
    table = accuracy_table(results)
    assert list(table.columns) == ["model", "FP32", "mode", "method", "W8A8", "W4A8"]
    w8a8, w4a8 = "75.00 (drop 0.00 [0.00, 0.00])", "50.00 (drop 25.00 [0.00, 75.00])"
    assert table.iloc[0].tolist() == ["net", "75.00", "partial", "minmax", w8a8, w4a8]
    assert f"{w4a8} |" in to_markdown(table)


@pytest.mark.parametrize(("content", "message"), [('{"model": "net"}', "not the result of a run"), ("[1", "cannot be read as JSON")])
def test_a_file_that_is_no_result_is_named(tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"other.json: {message}"):
        results_table([path])


def test_a_result_without_its_fp32_result_is_refused_with_the_model():
    with pytest.raises(InputError, match=r"mobilevit_xxs on cifar10: no FP32 result"):
        tabulated([{"dataset": "cifar10", "model": "mobilevit_xxs", "method": "minmax"}])
