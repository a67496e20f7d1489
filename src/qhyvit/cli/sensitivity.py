"""Command `sensitivity`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from qhyvit.analysis.sensitivity import site_sensitivity
from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.data.calibration_set import calibration_entries
from qhyvit.data.labelled_images import LabelledImages
from qhyvit.data.manifest import read_manifest
from qhyvit.data.sampling import sample_entries
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.loading import load_model
from qhyvit.models.recorded_weights import require_calibrated
from qhyvit.own_files import require, written_by
from qhyvit.quantizers.serialization import load_parameters, load_quantizers


def sensitivity(
    config: options.Config,
    model: options.Model,
    images: options.Images,
    quantized: Annotated[Path, typer.Option(help="File written by `qhyvit quantize` in partial mode.")],
    output: options.Output,
    threads: options.Threads = 1,
) -> None:
    """Measure what each site costs the network, quantized alone and as the only one in FP32.

    The images are calibration images that the calibration did not use, nor the correction or the tuning.
    """
    torch.set_num_threads(threads)
    settings = load_experiment(config, model)
    experiment = settings.experiment
    quantizers, record = load_quantizers(quantized)
    with written_by(quantized, "`qhyvit quantize`"):
        mode, calibrated = record["settings"]["mode"], record["calibrated"]
        seed, drawn = (calibrated["settings"][name] for name in ("seed", "images"))
        changes = {name: record["settings"].get(name, {"images": 0})["images"] for name in ("correction", "tuning")}
        count = max(len(drawn), 2 * changes["correction"], changes["tuning"], 1)  # a correction is judged on as many others
        require(type(seed) is int and type(count) is int, "it has no seed or number of images")
    if mode != "partial":
        raise InputError(f"{quantized}: quantized in mode {mode!r}; give a network quantized in mode 'partial'")
    require_calibrated(settings, model, calibrated, quantized, images)
    loaded = load_model(settings, model)
    there = read_manifest(experiment.dataset, images, "calibration")
    used = {entry.path for entry in calibration_entries(experiment, images, seed, min(count, len(there)))}
    others = [entry for entry in there if entry.path not in used]
    if not others:
        raise InputError(f"{quantized}: made with all {len(there)} calibration images; add others, or measure another method")
    held_out = LabelledImages(sample_entries(others, experiment.sensitivity.images, seed), loaded.transform)
    inputs, labels = zip(*(held_out[index] for index in range(len(held_out))), strict=True)
    with atomic_write(output) as path:
        changed = load_parameters(quantized)
        table = site_sensitivity(loaded.traced, quantizers, torch.stack(inputs), torch.tensor(labels), changed)
        table.to_csv(path, index=False, float_format="%.6g")
