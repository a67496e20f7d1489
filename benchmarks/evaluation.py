"""Speed of `qhyvit evaluate` on a folder of images, next to that of the network alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from rich.progress import track

from benchmarks.common import EXPERIMENT, MODEL, SIZE, WORK, fetch, measure, restart_as_jobs_start, write_report
from qhyvit.config.loading import load_config
from qhyvit.device import choose_device
from qhyvit.evaluation.evaluation_set import BATCH_SIZE
from qhyvit.graph.memory_layout import with_channels_last
from qhyvit.models.loading import load_model

FOLDER = WORK / "evaluation"
IMAGES = 10_000
ALONE = 1_000  # images for the network alone, before and after the command
QHYVIT = (sys.executable, "-m", "qhyvit")


def main(images: int = IMAGES, device: str = "cpu", size: int = SIZE) -> None:
    """Write reports/benchmarks/evaluation.{csv,md}."""
    restart_as_jobs_start("evaluation")
    shutil.rmtree(FOLDER, ignore_errors=True)  # of a run that was killed, with decoded images
    fetch()
    config, manifest = write_experiment(images, device, size), FOLDER / "images.csv"
    subprocess.run([*QHYVIT, "fetch", "images", "--config", str(config), "--output", str(manifest)], check=True)
    command = ["-m", "qhyvit", "evaluate", "--config", str(config), "--model", MODEL, "--images", str(manifest)]
    outputs = ["--output", str(FOLDER / "fp32.json"), "--logits", str(FOLDER / "fp32.safetensors")]
    before = seconds_alone(config)
    seconds = {}
    for name in ("the command, which decodes the images", "the command, images decoded before"):
        seconds[name] = measure(*command, *outputs).seconds / images
    seconds = {"the network alone": (before + seconds_alone(config)) / 2} | seconds
    table = pd.DataFrame({"part": list(seconds), "images_per_second": [1 / found for found in seconds.values()]})
    table["relative"] = table.images_per_second / table.images_per_second[0]
    shutil.rmtree(FOLDER)
    summary = pd.DataFrame(
        {
            "part": table.part,
            "images per second": table.images_per_second.map("{:.1f}".format),
            "relative": table.relative.map("{:.2f}".format),
        }
    )
    write_report("evaluation", table, summary, _notes(images, device, size), ["torch", "pillow"], f"{os.cpu_count()} cores")


def write_experiment(images: int, device: str, size: int) -> Path:
    """Write a folder of random images, and return the experiment that evaluates them."""
    generator, folder = np.random.default_rng(0), FOLDER / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    for number in track(range(images), "making images"):
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{number:05}.jpg", quality=90)
    labels = pd.DataFrame({"filename": [f"{number:05}.jpg" for number in range(images)], "label": np.arange(images) % 10})
    labels.to_csv(folder / "labels.csv", index=False)
    dataset = load_config(EXPERIMENT).experiment.dataset.model_dump(mode="json", exclude_defaults=True)
    changed = {"name": "synthetic", "evaluation": str(folder), "input_size": size}
    content = {"base": str(EXPERIMENT), "dataset": dataset | changed, "device": device, "decoded": str(FOLDER / "decoded")}
    path = FOLDER / "experiment.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


@torch.no_grad()
def seconds_alone(config: Path) -> float:
    """Return the seconds of the network per image, on one batch that stays on its device."""
    torch.set_num_threads(1)
    settings = load_config(config)
    device = choose_device(settings.experiment.device)
    network = with_channels_last(load_model(settings, MODEL, device).traced.graph_module)
    size = settings.experiment.dataset.input_size
    assert size is not None
    batch = torch.rand(BATCH_SIZE, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    network(batch).cpu()
    start = perf_counter()
    for _ in range(ALONE // BATCH_SIZE):
        network(batch).cpu()
    return (perf_counter() - start) / ALONE


def _notes(images: int, device: str, size: int) -> str:
    return (
        f"`qhyvit evaluate` of {MODEL} in FP32 on {images:,} JPEG images of {size} x {size} pixels in a folder, device `{device}`."
        " It is measured from the start of the process to its end. Networks run on one thread; one process per core decodes images. The"
        " network alone runs batches that are in memory, before and after."
    )


if __name__ == "__main__":
    typer.run(main)
