"""Command `export`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.deploy.exporting import Exported
from qhyvit.deploy.exporting import export as write
from qhyvit.errors import InputError
from qhyvit.models.loading import load_model
from qhyvit.quantizers.serialization import load_quantizers


def export(
    config: options.Config,
    model: options.Model,
    images: options.Images,
    quantized: Annotated[Path, typer.Option(help="File written by `qhyvit quantize`.")],
    output: Annotated[Path, typer.Option(help="File to write: .xml for OpenVINO, with the weights next to it as .bin, or .onnx.")],
    keep: Annotated[list[str] | None, typer.Option(help="Site that stays FP32, as `qhyvit inspect` names it; repeatable.")] = None,
    threads: options.Threads = 1,
) -> None:
    """Write a quantized network as OpenVINO IR or ONNX, each site checked against the simulator.

    The file takes one image at a time. The check runs here, on the first calibration image.
    """
    torch.set_num_threads(threads)
    settings, (quantizers, _) = load_experiment(config, model), load_quantizers(quantized)
    loaded = load_model(settings, model)
    if not quantizers.keys() <= {site.name for site in loaded.traced.sites} | {site.name for site in loaded.traced.output_sites}:
        raise InputError(f"{quantized}: its sites are not those of {model}; give quantizers of this model")
    (example,) = load_batches(settings.experiment, calibration_entries(settings.experiment, images, 0, 1), loaded.transform)
    show(write(loaded.traced, quantizers, example, output, keep or []))


def show(exported: Exported) -> None:
    """Print how the file differs from the simulator."""
    typer.echo(f"{exported.path}: logits of one image within {exported.difference:.2g} of the largest of the simulator's")
    if exported.kept:
        typer.echo(f"FP32, as asked for: {', '.join(exported.kept)}")
    if exported.in_floating_point:
        typer.echo(f"multiplied in floating point, since its integers disagree: {', '.join(exported.in_floating_point)}")
    wrong = [check for check in exported.disagreeing if check.saturates]
    for check in [check for check in exported.disagreeing if not check.saturates]:
        typer.echo(f"{check.site}: differs from the simulator by {check.difference:.2g} of its largest output in every form")
    if wrong:
        worst = max(wrong, key=lambda check: check.difference)
        typer.echo(
            f"this processor has no VNNI and computes {len(wrong)} sites with 8-bit weights wrongly, most of all {worst.site}, by"
            f" {worst.difference:.2g} of its largest output; run the file on a processor with VNNI, or quantize weights to 7 bits"
        )
