"""Conditions of claims: numbers and names are compared; nothing is run as code."""

from pathlib import Path

import pytest

from qhyvit.reporting.conditions import LONGEST, is_true

VALUES = {"gain": 1.5, "gain_low": 0.25, "published": 2.0}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("gain_low > 0 and gain >= published", False),
        ("gain_low > 0 or gain >= published", True),
        ("not gain_low > 0", False),
        ("0 < gain_low < gain < published", True),
        ("0 < gain < gain_low", False),
        ("gain - gain_low <= -1 + 2.25 * 1", True),
        ("gain / gain_low == 6", True),
        ("gain != 1.5", False),
        (" gain_low < 1e-1 or (gain > 1 and published == 2)\n", True),
    ],
)
def test_condition_compares_numbers_and_names(condition, holds):
    assert is_true(condition, VALUES) is holds


@pytest.mark.parametrize(
    "condition",
    [
        "gain.values.tofile('written')",
        "gain.tofile('written') == 1",
        "__import__('os').system('touch written') == 0",
        "open('written', 'w') == 1",
        "[open('written', 'w') for _ in (1,)] == 1",
        "(lambda: 1)() == 1",
        "gain > 1 or open('written', 'w') == 1",
        "@gain > 1",
        "gain[0] > 1",
        "gain + [1] > 1",
        "gain ** 9 > 1",
        "gain // 1 > 1",
        "~gain == 1",
        "gain in (1, 2)",
        "gain is 1.5",
        "'a' > gain",
        "True == 1",
        "1j == 1",
        "gain = 3",
        "(other := 3) > 1",
        "gain",
        "gain and published",
        "(gain > 1) + 1 > 1",
        "median > 1",
        "gain / 0 > 1",
        "gain >",
        "",
        "gain > 1\0",
        "gain > \ud800",
        "-" * LONGEST + "1 > 0",
        "(" * (LONGEST - 1) + "1",
    ],
)
def test_all_else_is_refused_and_runs_no_code(condition, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no comparison|no number|neither|none of the values|longer|null bytes|surrogates"):
        is_true(condition, VALUES)
    assert not Path("written").exists()
