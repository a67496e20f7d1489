"""Command `report`."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from qhyvit.cli import options
from qhyvit.cli.inputs import find_entry
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.own_files import written_by
from qhyvit.reporting.html import Section, packed, page
from qhyvit.reporting.registry import RESULTS, TABLES

TABLES_BY_NAME = {RESULTS.name: RESULTS, **TABLES}


def report(
    tables: Annotated[
        list[str], typer.Argument(metavar="NAME=CSV...", help="Tables by name, for example accuracy=reports/tables/accuracy.csv.")
    ],
    output: Annotated[Path, options.Written(), typer.Option(help="HTML file to write.")],
) -> None:
    """Make one HTML page of tables that sort and filter in a browser, offline."""
    names = [table.partition("=")[0] for table in tables]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{repeated[0]}: given twice; give each table once")
    text = packed(page("Tables", [_section(table) for table in tables]))
    with atomic_write(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _section(text: str) -> Section:
    name, separator, path = text.partition("=")
    if not separator:
        raise InputError(f"{text}: not of the form NAME=CSV; put the name of the table before its file")
    entry = find_entry(TABLES_BY_NAME, "table", name)
    with written_by(Path(path), "`qhyvit table` or `qhyvit aggregate`"):
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    return Section(name, entry.category, entry.title, entry.caption, cells)
