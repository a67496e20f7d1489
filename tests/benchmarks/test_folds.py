from benchmarks.folds import pooled
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.runs import tabulate


def result(dataset, method, bits, correct, **more):
    return {
        "dataset": dataset,
        "model": "net",
        "family": "F",
        "method": method,
        "mode": "" if method == "fp32" else "partial",
        "w_bits": bits,
        "a_bits": bits,
        "seed": 0,
        "images": len(correct),
        "top1": 100 * correct.count("1") / len(correct),
        "correct": correct,
    } | more


FOLDS = [
    result("a", "fp32", 32, "11"),
    result("a", "minmax", 8, "10", kl=0.1),
    result("a", "minmax", 4, "00", kl=1.0),
    result("b", "fp32", 32, "101111"),
    result("b", "minmax", 8, "011111", kl=0.5),
    result("b", "minmax", 4, "000001", kl=2.0),
]


def test_each_image_counts_once():
    fp32, w8a8, w4a4 = pooled(FOLDS)
    assert [each["images"] for each in (fp32, w8a8, w4a4)] == [8, 8, 8]
    assert [each["top1"] for each in (fp32, w8a8, w4a4)] == [87.5, 75.0, 12.5]  # 7, 6 and 1 of 8, not the means of the folds' percentages
    assert w8a8["kl"] == (2 * 0.1 + 6 * 0.5) / 8
    assert "kl" not in fp32


def test_correct_images_stay_paired():
    """Against 11101111 both 10011111 and 11010111 would have a drop of one hit, but the first loses two images and gains one."""
    fp32, w8a8, _ = pooled(FOLDS)
    assert (fp32["correct"], w8a8["correct"]) == ("11101111", "10011111")


def test_the_drop_is_that_of_all_images():
    table = tabulate(pooled(FOLDS), MethodCatalog({}, {}, {})).set_index("w_bits")
    assert table.loc[8, "drop"] == 12.5
    assert table.loc[4, "drop"] == 75.0
    assert table.loc[4, "drop_low"] < 75.0 < table.loc[4, "drop_high"]
