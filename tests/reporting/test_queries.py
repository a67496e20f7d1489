"""Queries for numbers of tables, against numbers by hand."""

import pandas as pd
import pytest

from qhyvit.reporting.queries import evaluate, shown

ROWS = pd.DataFrame(
    {
        "model": ["a", "b", "a", "b"],
        "w_bits": [8, 8, 6, 6],
        "a_bits": [8, 8, 6, 6],
        "drop": [0.1, 0.2, 1.0, 3.004],
        "drop_low": [-0.1, 0.0, 0.5, 2.0],
        "drop_high": [0.3, 0.4, 1.5, 4.0],
    }
)


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("drop model=a bits=W8A8", "0.10"),
        ("drop interval model=b bits=W6A6", "3.00 [2.00, 4.00]"),
        ("drop mean bits=W6A6", "2.00"),
        ("drop max model!=b .1", "1.0"),
        ("drop median model=b", "1.60"),
        ("model bits=W8A8 drop=0.1", "a"),
        ("drop count .0", "4"),
        ("drop sum bits=W6A6 /2 .3", "2.002"),
        ("drop_low min", "-0.10"),
        ("drop_low min /-1000", "0.00"),
        ("drop_low max /-1000", "0.00"),
        ("drop count model=c .0", "0"),
    ],
)
def test_query_gives_the_number_by_hand(query, number):
    assert shown(ROWS, query) == number


@pytest.mark.parametrize(
    "query",
    [
        *("drop", "drop model=c", "drop sum model=c", "drop mean model=c", "absent mean", "drop mean interval"),
        *("drop Mean model=a", "drop max intervall", "drop max .2f", "drop max =a", "drop max bits=8"),
    ],
)
def test_query_without_one_answer_is_refused(query):
    with pytest.raises(LookupError):
        evaluate(ROWS, query)
