"""Command `table`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.cli.inputs import Input, find_entry, read_sources
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.write import write_table


def table(
    config: options.Config,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(TABLES)}.")],
    output: Annotated[
        Path,
        options.Written((".csv", ".md", ".tex")),
        typer.Option(help="File to write, without suffix: .csv, and where the table has them .md and .tex, are added."),
    ],
    inputs: Input = None,
) -> None:
    """Write one table of the report."""
    entry = find_entry(TABLES, "table", name)
    write_table(entry.make(read_sources(config, inputs)), output, entry.formats, entry.caption)
