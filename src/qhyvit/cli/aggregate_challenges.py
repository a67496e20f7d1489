"""Command `aggregate-challenges`."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.tables.accuracy import to_markdown
from qhyvit.reporting.tables.challenges import challenge_table


def aggregate_challenges(
    activations: Annotated[list[Path], typer.Argument(help="Activations written by `qhyvit challenges`, one file per model.")],
    summary: Annotated[list[Path], typer.Option(help="Summary written by `qhyvit challenges`; one per model.")],
    output: Annotated[Path, typer.Option(help="CSV file for the activations of all models.")],
    table: Annotated[Path, typer.Option(help="CSV file for a table with one row per model.")],
    markdown: options.Markdown,
) -> None:
    """Gather the challenges of all models into one table."""
    gathered = pd.concat([pd.read_csv(path) for path in activations])
    with atomic_write(output) as path:
        gathered.to_csv(path, index=False, float_format="%.6g")
    networks = challenge_table(gathered, [json.loads(path.read_text()) for path in summary])
    with atomic_write(table) as path:
        networks.to_csv(path, index=False)
    with atomic_write(markdown) as path:
        path.write_text(to_markdown(networks))
