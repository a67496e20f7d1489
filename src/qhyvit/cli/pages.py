"""Command `pages`."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.reporting.html import page


def pages(
    tables: Annotated[list[Path], typer.Argument(help="CSV files.")],
    title: Annotated[list[str], typer.Option(help="Title of a page; one per table, in the same order.")],
    caption: Annotated[list[str], typer.Option(help="Caption of a table; one per table.")],
    output: Annotated[list[Path], typer.Option(help="HTML file to write; one per table.")],
) -> None:
    """Make HTML pages of tables that sort and filter in a browser, without a network."""
    counts = {"tables": len(tables), "--title": len(title), "--caption": len(caption), "--output": len(output)}
    if len(set(counts.values())) > 1:
        raise InputError(f"{', '.join(f'{count} {name}' for name, count in counts.items())}; give one of each for every table")
    for table, heading, text, target in zip(tables, title, caption, output, strict=True):
        with atomic_write(target) as path:
            path.write_text(page(pd.read_csv(table, dtype=str, keep_default_na=False), heading, text), encoding="utf-8")
