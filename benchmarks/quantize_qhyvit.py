"""Calibrate and quantize with one method, as the command line does."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import typer

from benchmarks.common import IMAGES, MANIFEST, MODEL, SEED, SIZE, load_experiment
from qhyvit.cli import collect_garbage_seldom
from qhyvit.cli.calibrate import calibrate
from qhyvit.cli.quantize import quantize
from qhyvit.models.loading import load_model

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
        experiment, calibration = Path(folder, "config.yaml"), Path(folder, "calibration.safetensors")
        experiment.write_text(config.experiment.model_dump_json())
        calibrate(experiment, MODEL, SEED, MANIFEST, calibration)
        output, errors = Path(folder, "quantized.safetensors"), Path(folder, "sites.csv")
        quantize(experiment, MODEL, method, "partial", "w8a8", MANIFEST, calibration, output, errors)


if __name__ == "__main__":
    typer.run(main)
