"""Command `quantize`."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from qhyvit.analysis.site_errors import site_errors
from qhyvit.calibration.serialization import load_output_statistics, load_statistics
from qhyvit.cli import options
from qhyvit.config.base import parse_bits
from qhyvit.config.loading import Config, load_config
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.data.labelled_folder import Transform
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.methods import find_quantizers
from qhyvit.methods.task import Calibration, Task
from qhyvit.models.loading import load_model
from qhyvit.provenance import Provenance, provenance
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.serialization import load_quantizers, save_quantizers


def quantize(
    config: options.Config,
    model: options.Model,
    method: options.Method,
    mode: options.Mode,
    bits: options.Bits,
    images: options.Images,
    calibration: options.Calibration,
    output: options.Output,
    errors: Annotated[Path, typer.Option(help="CSV file for the error of each site.")],
    partial: Annotated[
        Path | None, typer.Option(help="File written by the same method in partial mode; full mode keeps its quantizers and adds to them.")
    ] = None,
    threads: options.Threads = 1,
) -> None:
    """Find the quantizers of a network with one method, in one mode, at one bit-width."""
    torch.set_num_threads(threads)
    settings = load_config(config)
    settings.check_mode(method, mode)
    weight_bits, activation_bits = parse_bits(bits)
    loaded = load_model(settings, model)
    statistics, calibrated = load_statistics(calibration)
    task = Task(
        loaded.traced,
        statistics,
        load_output_statistics(calibration),
        _calibration(settings, loaded.transform, images, calibrated),
        settings.methods[method],
        weight_bits,
        activation_bits,
    )
    run = {"method": method, "mode": mode, "bits": bits, **task.method.model_dump()}
    record = provenance({"calibration": calibration}, run) | {"calibrated": calibrated}
    operands = None if partial is None else _operands(partial, record)
    quantizers = find_quantizers(task, mode, operands)
    with atomic_write(errors) as temporary:
        site_errors(task, quantizers).to_csv(temporary, index=False, float_format="%.6g")
    save_quantizers(output, quantizers, record)


def _operands(partial: Path, record: Provenance) -> Quantizers:
    quantizers, partial_record = load_quantizers(partial)
    expected = record["inputs"], {**record["settings"], "mode": "partial"}
    if (partial_record["inputs"], partial_record["settings"]) != expected:
        raise InputError(f"{partial}: not written by this method from this calibration in partial mode; run `qhyvit quantize` in that mode")
    return quantizers


def _calibration(config: Config, transform: Transform, images: Path, calibrated: Provenance) -> Calibration:
    drawn = calibrated["settings"]

    def read_batches() -> list[Tensor]:
        entries = calibration_entries(config.experiment, images, drawn["seed"], len(drawn["images"]))
        return load_batches(config.experiment, entries, transform)

    return Calibration(read_batches, drawn["sampled_positions"], drawn["seed"])
