"""Results on two convolutional networks and 1,800 photographs, in two folds calibrated on each other's images.

The images cannot come with the project, so the folds run where they are, each by itself, and what this pools are their reports:
`make reproduce CONFIG=config/experiments/imagenet-mini.yaml IMAGENET_MINI=/path`, and the same with imagenet-mini-swapped.yaml. The
experiments imagenet-mini-tuning.yaml and imagenet-mini-tuning-swapped.yaml are pooled likewise.
"""

import sys
from pathlib import Path
from typing import Any, cast

import pandas as pd
import typer

from benchmarks.common import write_tables
from benchmarks.folds import pooled
from qhyvit.config.loading import load_config
from qhyvit.reporting.captions import PAIRED, run_note
from qhyvit.reporting.catalog import FP32, MethodCatalog, read_catalog
from qhyvit.reporting.correctness import COLUMNS, decode, encode, read_correct
from qhyvit.reporting.runs import KEY, correct_images, read_results, tabulate
from qhyvit.reporting.tables.accuracy import accuracy_table
from qhyvit.reporting.tables.gains import gains, gains_shown
from qhyvit.reporting.tables.paired import headline_pairs

EXPERIMENTS = {"imagenet_mini": "imagenet-mini", "imagenet_mini_tuning": "imagenet-mini-tuning"}  # by the file they are pooled in
NOTES = (
    "Top-1 in percent on {images:,} images, the drop in points with its 95 % paired-bootstrap interval over images. Two folds:"
    " calibrated on one draw of images of the one half, evaluated on the other. Both halves are easier than ImageNet's whole validation"
    " set: this compares variants of one network, and is no ImageNet accuracy."
)


def main() -> None:
    """Write imagenet_mini and imagenet_mini_tuning in reports/benchmarks, of the reports of both folds."""
    missing = []
    for file, name in EXPERIMENTS.items():
        folds = [Path("config/experiments") / f"{name}{fold}.yaml" for fold in ("", "-swapped")]
        if without := [fold for fold in folds if not (_reports(fold) / "correct.csv").exists()]:
            missing += without
        else:
            pool(file, folds)
    if missing:
        sys.exit("\n".join(f"no report of {fold}: run `make reproduce CONFIG={fold} IMAGENET_MINI=/path`" for fold in missing))


def pool(file: str, folds: list[Path]) -> None:
    """Write reports/benchmarks/<file>.{csv,md}, and the gains in <file>_paired.{csv,md}, of the reports of the experiments ``folds``."""
    methods = read_catalog(load_config(folds[0], allow_unset_env=True).experiment.methods_file)
    results = pooled([result for fold in folds for result in fold_results(_reports(fold))])
    table = tabulate(results, methods)
    shown = accuracy_table(table[table.method != FP32], methods).drop(columns="mode")
    write_tables(file, table.drop(columns="dataset"), shown, NOTES.format(images=table.images.max()))
    gained = pooled_gains(results, methods)
    write_tables(f"{file}_paired", gained.drop(columns="dataset"), gains_shown(gained).drop(columns="mode"), f"{PAIRED} {run_note(gained)}")


def pooled_gains(results: list[dict[str, Any]], methods: MethodCatalog) -> pd.DataFrame:
    """Return the `gains` of the methods of the headline over each other method, on the images of all folds."""
    same_images = "+".join(sorted({result["dataset"] for result in results}))
    rows = [result | {"images_hash": same_images, "correct": encode(correct_images(result))} for result in results]
    correct = pd.DataFrame(rows, columns=COLUMNS)
    return gains(correct, headline_pairs(set(correct.method), methods), methods)


def _reports(fold: Path) -> Path:
    return load_config(fold, allow_unset_env=True).experiment.reports


def fold_results(reports: Path) -> list[dict[str, Any]]:
    """Return the results of all runs of a fold, FP32 included, as `qhyvit evaluate` writes them."""
    encoded = read_correct(reports / "correct.csv")[[*KEY, "correct"]]
    table = read_results(reports / "results.csv").merge(encoded, on=KEY, validate="one_to_one")
    correct = ["".join(map(str, decode(*run).astype(int))) for run in zip(table.correct, table.images, strict=True)]
    return cast(list[dict[str, Any]], table.assign(correct=correct).to_dict("records"))


if __name__ == "__main__":
    typer.run(main)
