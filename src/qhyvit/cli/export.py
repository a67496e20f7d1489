"""Command `export`."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.deploy.exporting import export as write
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.loading import load_model
from qhyvit.models.recorded_weights import require_calibrated
from qhyvit.quantizers.serialization import load_parameters, load_quantizers


def export(
    config: options.Config,
    model: options.Model,
    images: options.Images,
    quantized: Annotated[Path, typer.Option(help="File written by `qhyvit quantize`.")],
    output: Annotated[
        Path, options.Written(), typer.Option(help="File to write: .xml for OpenVINO, with the weights next to it as .bin, or .onnx.")
    ],
    checks: Annotated[
        Path | None, options.Written(), typer.Option(help="CSV file to write: form and difference from the simulator of each site.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Site that stays FP32, as `qhyvit inspect` names it; repeatable.")] = None,
    threads: options.Threads = 1,
) -> None:
    """Write a quantized network as OpenVINO IR or ONNX, each site checked against the simulator.

    The file takes one image at a time. The check runs here, on the first calibration image.
    """
    torch.set_num_threads(threads)
    settings, (quantizers, record) = load_experiment(config, model), load_quantizers(quantized)
    require_calibrated(settings, model, record.get("calibrated", {}), quantized, images)
    loaded = load_model(settings, model)
    if not quantizers.keys() <= {site.name for site in loaded.traced.sites} | {site.name for site in loaded.traced.output_sites}:
        raise InputError(f"{quantized}: its sites are not those of {model}; give quantizers of this model")
    (example,) = load_batches(settings.experiment, calibration_entries(settings.experiment, images, 0, 1), loaded.transform)
    exported = write(loaded.traced.with_parameters(load_parameters(quantized)), quantizers, example, output, keep or [])
    if checks is not None:
        with atomic_write(checks) as temporary:
            pd.DataFrame(exported.checks).to_csv(temporary, index=False)
    typer.echo("\n".join([f"{output}:", *exported.remarks]))
