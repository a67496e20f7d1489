"""Step `sensitivity`: what each site's quantization costs the whole network."""

from pathlib import Path

import torch

from qhyvit.analysis.sensitivity import site_sensitivity
from qhyvit.config import Config
from qhyvit.data.calibration_set import calibration_entries
from qhyvit.data.labelled_folder import LabelledImages, sample_entries
from qhyvit.data.manifest import read_manifest
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.loading import load_model
from qhyvit.quantizers.serialization import load_quantizers


def sensitivity(config: Config, model: str, images: Path, quantized: Path, output: Path) -> None:
    """Write a CSV with a row for each site of ``model``, for the partially quantized network in ``quantized``.

    It is measured on calibration images that the calibration did not draw. Raises InputError for a fully quantized network.
    """
    settings = config.experiment.sensitivity
    loaded = load_model(config, model)
    quantizers, record = load_quantizers(quantized)
    if record["settings"]["mode"] != "partial":
        raise InputError(f"{quantized}: is quantized in mode {record['settings']['mode']!r}; the sensitivity is that of mode 'partial'")
    seed = record["calibrated"]["settings"]["seed"]
    drawn = {entry.path for entry in calibration_entries(config.experiment, images, seed)}
    others = [entry for entry in read_manifest(config.experiment.dataset, images, "calibration") if entry.path not in drawn]
    held_out = LabelledImages(sample_entries(others, settings.images, seed), loaded.transform)
    inputs, labels = zip(*(held_out[index] for index in range(len(held_out))), strict=True)
    with atomic_write(output) as path:
        table = site_sensitivity(loaded.traced, quantizers, torch.stack(inputs), torch.tensor(labels))
        table.to_csv(path, index=False, float_format="%.6g")
