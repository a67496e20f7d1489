"""Command `aggregate`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.config.loading import load_config
from qhyvit.data.stamps import FIRST, write_stamp
from qhyvit.reporting.aggregate import aggregate as aggregate_results
from qhyvit.reporting.catalog import read_catalog


def aggregate(
    config: options.Config,
    results: Annotated[list[Path], typer.Argument(help="Files written by `qhyvit evaluate`, FP32 included.")],
    images: options.Images,
    output: Annotated[
        Path,
        options.Written(("/results.csv", "/correct.csv", "/metrics.json")),
        typer.Option(help="Folder for results.csv, correct.csv and metrics.json."),
    ],
    stamps: options.Stamps = None,
    state: options.State = FIRST,
) -> None:
    """Gather the results of all runs, with intervals, in one table."""
    methods = load_config(config, allow_unset_env=True).experiment.methods_file
    aggregate_results(results, images, read_catalog(methods), output)
    if stamps is not None:
        write_stamp(stamps, state, output / "results.csv")
