"""Command `claims`. It reads committed files, so that it needs neither a run nor data."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from qhyvit.cli import options
from qhyvit.cli.console import wide_console
from qhyvit.reporting.claims import CAPTION, CLAIMS, claims_table, compare, read_claims
from qhyvit.reporting.write import write_table

FORMATS = ("csv", "md", "tex")


def claims(
    file: Annotated[Path, typer.Option(help="Claims with the conditions of their verdicts.")] = CLAIMS,
    output: Annotated[
        Path,
        options.Written((".csv", ".md", ".tex"), read_with="verify"),
        typer.Option(help="File to write, without suffix: .csv, .md and .tex are added."),
    ] = Path("reports/claims"),
    verify: Annotated[
        Path | None, typer.Option(help="Reports of a new run: compare the values with a tolerance with those of them, and write nothing.")
    ] = None,
) -> None:
    """Compute from the reports which claims of the paper hold, or compare a new run with them (exit code 1: it differs)."""
    stated = read_claims(file)
    if verify is None:
        write_table(claims_table(stated, pd.read_csv, file), output, FORMATS, CAPTION.format(file=file))
        return
    compared = compare(stated, pd.read_csv, verify, file)
    table = Table(*compared.columns, title=f"Values of {verify}, next to those of the committed reports, in points", box=SIMPLE_HEAD)
    for claim, value, committed, again, tolerance, passed in compared.itertuples(index=False):
        table.add_row(claim, value, f"{committed:.2f}", f"{again:.2f}", f"{tolerance:.1f}", "yes" if passed else "no")
    wide_console().print(table)
    if not compared.passed.all():
        raise typer.Exit(1)
