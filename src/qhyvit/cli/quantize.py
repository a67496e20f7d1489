"""Command `quantize`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from qhyvit.analysis.site_errors import site_errors
from qhyvit.calibration.recalibration import Recalibration
from qhyvit.calibration.serialization import load_recalibration
from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.cli.task import load_task
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.graph.unquantized_products import find_unquantized_products, unquantized_sentence
from qhyvit.provenance import Provenance, provenance
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.serialization import load_quantizers, save_quantizers
from qhyvit.tuning import find_quantization
from qhyvit.tuning.checkpoint import Checkpoint


def quantize(
    config: options.Config,
    model: options.Model,
    method: options.Method,
    mode: options.Mode,
    bits: options.Bits,
    images: options.Images,
    calibration: options.Calibration,
    output: options.Output,
    errors: Annotated[Path, options.Written(), typer.Option(help="CSV file for the error of each site.")],
    partial: Annotated[
        Path | None, typer.Option(help="File written by the same method in partial mode; full mode keeps its quantizers and adds to them.")
    ] = None,
    recalibration: Annotated[
        Path | None, typer.Option(help="File written by `qhyvit recalibrate`; without it a method that needs one makes its own.")
    ] = None,
    threads: options.Threads = 1,
) -> None:
    """Find the quantizers of a network with one method, in one mode, at one bit-width."""
    torch.set_num_threads(threads)
    settings = load_experiment(config, model, method)
    settings.check_mode(method, mode)
    task, calibrated = load_task(settings, model, method, bits, images, calibration)
    products = find_unquantized_products(task.model.graph_module, task.model.sites)
    if products:
        typer.echo(f"qhyvit: model {model}: {unquantized_sentence(products)}", err=True)
    run = {"method": method, "mode": mode, "bits": bits, **task.method.quantizer_settings}
    record = provenance({"calibration": calibration}, run) | {"calibrated": calibrated}
    operands = None if partial is None else _operands(partial, record)
    if recalibration is not None:
        task = replace(task, recalibration=_recalibration(recalibration, record, task.method.recalibration_key))
    checkpoint = Checkpoint(output.with_name(f".{output.name}.tuning"), json.dumps(record, sort_keys=True))
    quantizers, changed = find_quantization(task, mode, operands, checkpoint)
    with atomic_write(errors) as temporary:
        site_errors(task, quantizers, changed).to_csv(temporary, index=False, float_format="%.6g")
        save_quantizers(output, quantizers, record, changed)  # if it fails, there are no errors either
    checkpoint.remove()


def _operands(path: Path, record: Provenance) -> Quantizers:
    """Load the quantizers of the same run in partial mode."""
    quantizers, partial = load_quantizers(path)
    expected = record["inputs"], {**record["settings"], "mode": "partial"}
    if (partial.get("inputs"), partial.get("settings")) != expected:
        raise InputError(f"{path}: not written by this method from this calibration in partial mode; run `qhyvit quantize` in that mode")
    return quantizers


def _recalibration(path: Path, record: Provenance, key: str | None) -> Recalibration:
    """Load a recalibration of the same calibration, bits and default settings."""
    recalibration, made = load_recalibration(path)
    expected = record["inputs"], {"key": key, "bits": record["settings"]["bits"]}
    if (made.get("inputs"), made.get("settings")) != expected:
        raise InputError(
            f"{path}: made from another calibration, for other bits, or for a method with other default settings;"
            " run `qhyvit recalibrate` for this run"
        )
    return recalibration
