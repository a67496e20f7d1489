from pathlib import Path

import pandas as pd
import pytest

from benchmarks.folds import pooled
from benchmarks.imagenet_mini import fold_results, pooled_gains
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.correctness import encode
from qhyvit.reporting.runs import COLUMNS, KEY, tabulate

CORRECT = {"a": {"fp32": "1111", "minmax": "1001"}, "b": {"fp32": "011111", "minmax": "010011"}}


def write_report(folder: Path, dataset: str) -> None:
    rows = []
    for method, correct in CORRECT[dataset].items():
        whole = dict.fromkeys(COLUMNS) | {"dataset": dataset, "model": "net", "family": "F", "method": method, "mode": "partial", "seed": 0}
        bits = 32 if method == "fp32" else 8
        images, digits = len(correct), encode([digit == "1" for digit in correct])
        rows.append(
            whole | {"w_bits": bits, "a_bits": bits, "images": images, "top1": 100 * correct.count("1") / images, "correct": digits}
        )
    table = pd.DataFrame(rows)
    folder.mkdir()
    table[COLUMNS].to_csv(folder / "results.csv", index=False)
    table[[*KEY, "images", "correct"]].assign(images_hash="0").to_csv(folder / "correct.csv", index=False)


def test_reports_of_two_folds_are_one_result_over_all_images(tmp_path):
    for dataset in CORRECT:
        write_report(tmp_path / dataset, dataset)
    results = pooled([result for dataset in CORRECT for result in fold_results(tmp_path / dataset)])
    assert {result["method"]: result["correct"] for result in results} == {"fp32": "1111011111", "minmax": "1001010011"}
    row = tabulate(results, MethodCatalog({}, {}, {})).set_index("method").loc["minmax"]
    assert (row["images"], row["top1"], row["top1_fp32"]) == (10, pytest.approx(50), pytest.approx(90))
    assert row["drop"] == pytest.approx(40)


def test_gains_are_on_the_images_of_all_folds():
    """Of ten images the search is right on eight, and the baseline on five of these and one other."""
    run = {"family": "F", "model": "net", "mode": "partial", "w_bits": 8, "a_bits": 8, "seed": 0}
    correct = {"qhyvit": ("1111", "111100"), "minmax": ("1100", "111001")}
    folds = [
        run | {"dataset": dataset, "method": method, "images": len(digits), "top1": 0.0, "kl": 0.0, "correct": digits}
        for method, of_method in correct.items()
        for dataset, digits in zip("ab", of_method, strict=True)
    ]
    (row,) = pooled_gains(pooled(folds), MethodCatalog({}, {}, {})).to_dict("records")
    assert (row["method"], row["baseline"], row["images"]) == ("qhyvit", "minmax", 10)
    assert row["gain"] == pytest.approx(100 * (8 - 6) / 10)
