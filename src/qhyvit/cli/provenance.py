"""Command `provenance`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.config.loading import load_config
from qhyvit.files import atomic_write
from qhyvit.reporting.tables.provenance import configuration_table, provenance_table


def provenance(
    quantized: Annotated[list[Path], typer.Argument(help="Files written by `qhyvit quantize`.")],
    config: options.Config,
    configuration: Annotated[Path, typer.Option(help="CSV file for settings and software.")],
    runs: Annotated[Path, typer.Option(help="CSV file for the origin of each quantized network.")],
) -> None:
    """Tabulate settings, software, commits and hashes of a report."""
    with atomic_write(configuration) as path:
        configuration_table(load_config(config)).to_csv(path, index=False)
    with atomic_write(runs) as path:
        provenance_table(quantized).to_csv(path, index=False)
