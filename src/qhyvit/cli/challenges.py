"""Command `challenges`."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from qhyvit.analysis.challenges import measure_challenges
from qhyvit.calibration.serialization import load_statistics
from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.recorded_weights import require_calibrated
from qhyvit.models.zoo import build, example_input


def challenges(
    config: options.Config,
    model: options.Model,
    calibration: options.Calibration,
    output: Annotated[Path, options.Written(), typer.Option(help="CSV file for range and zero-point overflow of each activation.")],
    channels: Annotated[Path, options.Written(), typer.Option(help="CSV file for the range of each channel.")],
    summary: Annotated[Path, options.Written(), typer.Option(help="JSON file for counts and shares of the whole network.")],
    threads: options.Threads = 1,
) -> None:
    """Measure what makes a network hard to quantize: channel ranges, zero-point overflow, norms, residual branches."""
    torch.set_num_threads(threads)
    settings = load_experiment(config, model)
    dataset = settings.experiment.dataset
    network = build(settings.models[model], dataset.classes, dataset.input_size)
    statistics, record = load_statistics(calibration)
    require_calibrated(settings, model, record, calibration, images=None)
    try:
        measured = measure_challenges(network, example_input(network, dataset), statistics)
    except InputError as error:
        raise InputError(f"{calibration}: {error}") from error
    for table, path in ((measured.activations, output), (measured.channels, channels)):
        _write(table, model, path)
    with atomic_write(summary) as path:
        path.write_text(json.dumps({"model": model, **measured.summary}, indent=1) + "\n")


def _write(table: pd.DataFrame, model: str, path: Path) -> None:
    table.insert(0, "model", model)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
