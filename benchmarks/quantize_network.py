"""Calibrate and quantize one network of the paper, of its own input size, with random weights."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import typer

import qhyvit
from benchmarks.common import IMAGES, MANIFEST, SEED, TARGET, load_experiment
from qhyvit.config.dataset import IMAGENET_CLASSES
from qhyvit.config.loading import load_config
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.models.zoo import build, make_transform


def main(model: str, images: int = IMAGES, threads: int = 2) -> None:
    """Quantize ``model`` to W8A8 by `qhyvit` in mode partial and save it."""
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    network = build(load_config(TARGET, allow_unset_env=True).models[model], IMAGENET_CLASSES).eval()
    experiment = load_experiment(None, images).experiment
    batches = load_batches(experiment, calibration_entries(experiment, MANIFEST, SEED), make_transform(network, experiment.dataset))
    quantized = qhyvit.quantize(network, batches, method="qhyvit", bits="w8a8", seed=SEED)
    with TemporaryDirectory() as folder:
        quantized.save(Path(folder, "quantized.safetensors"))


if __name__ == "__main__":
    typer.run(main)
