"""Calibrate and quantize with one method, as the command line does."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import typer

from benchmarks.common import IMAGES, MANIFEST, MODEL, SEED, SIZE, load_experiment
from qhyvit.cli import collect_garbage_seldom
from qhyvit.models.loading import load_model
from qhyvit.steps.calibrate import calibrate
from qhyvit.steps.quantize import quantize

STEPS = 2  # each has a process of its own in the workflow, and loads the network


def main(method: str, size: int = SIZE, images: int = IMAGES, prepare_only: bool = False) -> None:
    """W8A8, mode partial; or nothing but load and trace the network, as often as the steps do."""
    torch.set_num_threads(1)
    collect_garbage_seldom()
    config = load_experiment(size, images)
    if prepare_only:
        for _ in range(STEPS):
            load_model(config, MODEL)
        return
    with TemporaryDirectory() as folder:
        calibration = Path(folder, "calibration.safetensors")
        calibrate(config, MODEL, SEED, MANIFEST, calibration)
        output, errors = Path(folder, "quantized.safetensors"), Path(folder, "sites.csv")
        quantize(config, MODEL, method, "partial", "w8a8", MANIFEST, calibration, output, errors)


if __name__ == "__main__":
    typer.run(main)
