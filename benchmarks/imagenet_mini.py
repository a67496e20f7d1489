"""Every method on two convolutional networks and 1,800 photographs with ImageNet's classes, each fold calibrated on the other's images.

The images cannot come with the project, so the environment names their folder: IMAGENET_MINI. config/README.md says what is in it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from benchmarks.common import REPORTS
from qhyvit.config import Config, load_config
from qhyvit.files import written_whole
from qhyvit.reporting.folds import pooled
from qhyvit.reporting.results import FP32, tabulated
from qhyvit.reporting.tables import to_markdown

FOLDS = [Path("config/imagenet-mini.yaml"), Path("config/imagenet-mini-swapped.yaml")]
VARIABLE = "IMAGENET_MINI"
NOTES = (
    "Top-1 in percent, the drop in points with its 95 % paired-bootstrap interval over images. Two folds: calibrated on images of the one"
    " half, evaluated on the other. Both halves are easier than ImageNet's whole validation set: this compares variants of one"
    " network, and is no ImageNet accuracy."
)


def main() -> None:
    """Run both folds and write reports/benchmarks/imagenet_mini.{csv,md}."""
    if not os.environ.get(VARIABLE):
        print(f"skipped: {VARIABLE} is not set in the environment; it names the folder of images and weights")
        return
    for fold in FOLDS:
        subprocess.run([sys.executable, "workflow/run.py", "--configfile", str(fold)], check=True)
    table = tabulated(pooled([result for fold in FOLDS for result in _results(load_config(fold))]))
    table = table[table.method != FP32]
    with written_whole(REPORTS / "imagenet_mini.csv") as path:
        table.drop(columns="dataset").to_csv(path, index=False, float_format="%.6g")
    with written_whole(REPORTS / "imagenet_mini.md") as path:
        path.write_text(f"{to_markdown(_summary(table))}\n{NOTES}\n")


def _results(config: Config) -> list[dict[str, Any]]:
    """What a run of the experiment measured, FP32 included."""
    experiment = config.experiment
    paths = []
    for model in experiment.models:
        folder = experiment.results / experiment.dataset.name / model
        paths.append(folder / "fp32.json")
        for seed in experiment.seeds:
            for method, settings in config.methods.items():
                modes = [mode for mode in experiment.modes if mode in settings.modes]
                paths += [folder / f"seed{seed}" / f"{method}-{mode}-{bits}.json" for mode in modes for bits in experiment.bits]
    return [json.loads(path.read_text()) for path in paths]


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": table.model,
            "method": table.method,
            "bits": [f"W{w_bits}A{a_bits}" for w_bits, a_bits in zip(table.w_bits, table.a_bits, strict=True)],
            "n": table.images.map("{:,}".format),
            "FP32": table.top1_fp32.map("{:.2f}".format),
            "top-1": table.top1.map("{:.2f}".format),
            "drop": [f"{row.drop:.2f} [{row.drop_low:.2f}, {row.drop_high:.2f}]" for row in table.itertuples(index=False)],
        }
    )


if __name__ == "__main__":
    typer.run(main)
