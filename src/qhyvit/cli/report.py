"""Command `report`."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from qhyvit.cli.inputs import find_entry
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.own_files import written_by
from qhyvit.reporting.html import page
from qhyvit.reporting.registry import RESULTS, TABLES

PAGES = {RESULTS.name: RESULTS, **TABLES}


def report(
    tables: Annotated[
        list[str], typer.Argument(metavar="NAME=CSV...", help="Tables by name, for example accuracy=reports/tables/accuracy.csv.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the pages, NAME.html.")],
) -> None:
    """Make HTML pages of tables that sort and filter in a browser, offline."""
    for text in tables:
        name, separator, path = text.partition("=")
        if not separator:
            raise InputError(f"{text}: not of the form NAME=CSV; put the name of the table before its file")
        entry = find_entry(PAGES, "table", name)
        with written_by(Path(path), "`qhyvit table` or `qhyvit aggregate`"):
            cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        with atomic_write(output / f"{name}.html") as temporary:
            temporary.write_text(page(cells, entry.title, entry.caption), encoding="utf-8")
