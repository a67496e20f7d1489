"""Files of a table: numbers as CSV, text for people as Markdown and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from qhyvit.errors import InputError
from qhyvit.files import atomic_write

NO_ROWS = "This run has no rows for this table."
COMMANDS = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum", "<": "textless", ">": "textgreater"}
TEX = str.maketrans({letter: f"\\{letter}" for letter in "&%$#_{}"} | {letter: f"\\{name}{{}}" for letter, name in COMMANDS.items()})


@dataclass(frozen=True)
class Table:
    """Rows of a table with all digits, the same as text for people, and a note on this run to follow the caption."""

    rows: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""


def write_table(table: Table, output: Path, formats: Sequence[str], caption: str) -> None:
    """Write the table to ``output`` with each of ``formats`` (csv, md, tex) as suffix. Numbers have six significant digits.

    Raises InputError for a path that names no file.
    """
    if not output.name:
        raise InputError(f"--output {output}: names no file; give a path without suffix, such as reports/accuracy")
    texts = {"csv": _csv, "md": _markdown, "tex": _latex}
    full_caption = " ".join(filter(None, [caption, table.note, NO_ROWS if table.rows.empty else ""]))
    for suffix in formats:
        with atomic_write(output.with_name(f"{output.name}.{suffix}")) as path:
            path.write_text(texts[suffix](table, full_caption, output.name))


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table of text in GitHub's Markdown."""
    return table.to_markdown(index=False, disable_numparse=True) + "\n"


def decimals(values: "pd.Series[float]") -> "pd.Series[str]":
    """Return numbers as text with two decimals, no sign before 0, and blanks for NaN."""
    return values.map(lambda value: "" if pd.isna(value) else f"{value:z.2f}").astype(str)


def interval_shown(middle: "pd.Series[float]", low: "pd.Series[float]", high: "pd.Series[float]") -> "pd.Series[str]":
    """Return values with their intervals as text: 1.50 [0.50, 2.50]."""
    return decimals(middle) + " [" + decimals(low) + ", " + decimals(high) + "]"


def _csv(table: Table, _caption: str, _name: str) -> str:
    return table.rows.to_csv(index=False, float_format="%.6g")


def _markdown(table: Table, caption: str, _name: str) -> str:
    return f"{to_markdown(table.shown)}\n{caption}\n"


def _latex(table: Table, caption: str, name: str) -> str:
    return table.shown.to_latex(index=False, escape=True, longtable=True, caption=_latex_text(caption), label=f"tab:{name}")


def _latex_text(text: str) -> str:
    """Return ``text`` for LaTeX, with what stands in backticks as code. pandas escapes the cells of a table alone."""
    parts = text.translate(TEX).split("`")
    return "".join(f"\\texttt{{{part}}}" if place % 2 else part for place, part in enumerate(parts))
