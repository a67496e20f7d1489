"""Queries for one number of a table: a column, words, and conditions, as in `drop mean method=qhyvit bits=W6A6`.

A condition is ``column=value``, or ``column!=value``, which excludes rows; ``bits=W6A6`` stands for ``w_bits=6 a_bits=6``. Without further
words one row must remain. The words are ``mean``, ``median``, ``sum``, ``min``, ``max`` and ``count`` over the rows, ``interval`` (append
the interval of the one row), ``/N`` (divide by N) and ``.N`` (N decimals, 2 by default).
"""

import re

import pandas as pd

REDUCTIONS = {name: getattr(pd.Series, name) for name in ("mean", "median", "sum", "min", "max", "count")}
WORD = re.compile(rf"(?!bits!?=)\w+!?=.*|bits=W\dA\d|{'|'.join(REDUCTIONS)}|interval|/-?[\d.]+|\.\d")
INTERVALS = {"drop": ("drop_low", "drop_high"), "gain": ("low", "high")}


def evaluate(rows: pd.DataFrame, query: str) -> list[float] | list[str]:
    """Return the value that a query asks for, followed by the ends of its interval if the query says so.

    Raises LookupError if the table has no such column, or not the rows that are needed, and for a word that is none of these.
    """
    column, *words = query.split()
    if unknown := [word for word in words if not WORD.fullmatch(word)]:
        raise LookupError(f"unknown word {unknown[0]!r}")
    rows = _selected(rows, [word for word in words if "=" in word])
    reduction = next((word for word in words if word in REDUCTIONS), None)
    if reduction is None and len(rows) != 1:
        raise LookupError(f"{len(rows)} rows where one is needed")
    if rows.empty and reduction != "count":
        raise LookupError("no rows")
    if reduction and "interval" in words:
        raise LookupError("an interval is that of one row")
    reduce = REDUCTIONS[reduction] if reduction else pd.Series.item
    return [reduce(rows[name]) for name in (column, *(INTERVALS[column] if "interval" in words else ()))]


def shown(rows: pd.DataFrame, query: str) -> str:
    """Return the answer to a query as text: 0.10, or 3.00 [2.00, 4.00] with an interval."""
    return answer_shown(evaluate(rows, query), query.split())


def answer_shown(answer: list[float] | list[str], words: list[str]) -> str:
    """Return what `evaluate` has found as text."""
    value, *interval = (formatted(each, words) for each in answer)
    return f"{value} [{', '.join(interval)}]" if interval else value


def formatted(value: float | str, words: list[str]) -> str:
    """Return a value as text, a number divided and rounded as the words of a query say."""
    if isinstance(value, str):
        return value
    divisor = float(next((word[1:] for word in words if word.startswith("/")), 1))
    decimals = int(next((word[1:] for word in words if re.fullmatch(r"\.\d", word)), 2))
    return f"{value / divisor:z,.{decimals}f}"


def _selected(rows: pd.DataFrame, conditions: list[str]) -> pd.DataFrame:
    """Return the rows that meet all conditions."""
    for condition in conditions:
        column, negation, value = re.fullmatch(r"(\w+)(!?)=(.*)", condition).groups()  # type: ignore[union-attr]
        if column == "bits":
            weights, activations = re.fullmatch(r"W(\d+)A(\d+)", value).groups()  # type: ignore[union-attr]
            rows = _selected(rows, [f"w_bits={weights}", f"a_bits={activations}"])
        else:
            equal = rows[column].astype(str) == value
            rows = rows[~equal if negation else equal]
    return rows
