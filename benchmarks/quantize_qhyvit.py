"""Calibrate and quantize with one method, as the command line does."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import typer

from benchmarks.common import IMAGES, MANIFEST, MODEL, SEED, SIZE, load_experiment
from qhyvit.steps.calibrate import calibrate
from qhyvit.steps.quantize import quantize


def main(method: str, size: int = SIZE, images: int = IMAGES) -> None:
    """W8A8, mode partial."""
    torch.set_num_threads(1)
    config = load_experiment(size, images)
    with TemporaryDirectory() as folder:
        calibration = Path(folder, "calibration.safetensors")
        calibrate(config, MODEL, SEED, MANIFEST, calibration)
        output, errors = Path(folder, "quantized.safetensors"), Path(folder, "sites.csv")
        quantize(config, MODEL, method, "partial", "w8a8", MANIFEST, calibration, output, errors)


if __name__ == "__main__":
    typer.run(main)
