import numpy as np
import pandas as pd
import pytest

from benchmarks.processors import both_gains, both_note, both_shown, processor_changes, processor_of
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.correctness import COLUMNS, encode

NAMES = ("Old", "New")


def correct(digits):
    """Return a `correct_table` of networks a and b, each with the correct images ``digits`` of a method."""
    run = {"dataset": "d", "mode": "partial", "w_bits": 8, "a_bits": 8, "seed": 0, "images": 8, "images_hash": "0"}
    rows = [
        run | {"model": model, "method": method, "correct": encode(np.array(list(of_model), int) == 1)}
        for method, of_method in digits.items()
        for model, of_model in zip("ab", of_method, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def gained(gain, p):
    """Return a table of `gains` with one row per value of ``gain`` and ``p``."""
    row = {"dataset": "d", "mode": "partial", "w_bits": 6, "a_bits": 6, "method": "qhyvit", "model": "a", "images": 8}
    rows = [
        row | {"baseline": f"m{index}", "gain": value, "low": value - 1, "high": value + 1, "p": p[index]}
        for index, value in enumerate(gain)
    ]
    return pd.DataFrame(rows)


def test_change_is_that_of_each_network_and_of_their_mean():
    first, second = correct({"minmax": ("11110000", "11111111")}), correct({"minmax": ("11111100", "01111111")})
    rows = processor_changes(first, second, MethodCatalog({}, {}, {})).set_index("model")
    assert rows.gain.to_dict() == pytest.approx({"a": 25, "b": -12.5, "mean": 6.25})
    assert (rows.method == "minmax").all()


def test_a_method_on_one_processor_alone_is_left_out():
    first, second = correct({"minmax": ("11110000",) * 2, "omse": ("11110000",) * 2}), correct({"minmax": ("11110000",) * 2})
    assert set(processor_changes(first, second, MethodCatalog({}, {}, {})).method) == {"minmax"}


def test_gains_significant_on_one_processor_alone_are_shown_and_all_are_counted():
    first, second = gained([3, 3, 3, 0, -4], [0.01, 0.01, 0.3, np.nan, 0.01]), gained([2, 1, 4, 0, 4], [0.02, 0.2, 0.01, np.nan, 0.01])
    rows = both_gains(first, second)
    shown = both_shown(rows, NAMES)
    assert shown.baseline.tolist() == ["m1", "m2"]
    assert shown[["Old", "New"]].to_numpy().tolist() == [
        ["3.00 [2.00, 4.00]*", "1.00 [0.00, 2.00]"],
        ["3.00 [2.00, 4.00]", "4.00 [3.00, 5.00]*"],
    ]
    note = both_note(rows, NAMES)
    assert "Of 5 gains in both reports, 2 are significant on both processors, 1 on Old alone and 1 on New alone." in note
    assert "Of those significant on both, 1 have the opposite sign." in note


def test_report_of_several_processors_is_refused(tmp_path):
    (tmp_path / "provenance").mkdir()
    pd.DataFrame({"processor": ["Old", "New"]}).to_csv(tmp_path / "provenance/runs.csv", index=False)
    with pytest.raises(SystemExit, match=r"runs\.csv: runs on Old and New; run the experiment on one processor"):
        processor_of(tmp_path)
