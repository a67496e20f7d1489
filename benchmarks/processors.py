"""One experiment on two processors: how much the top-1 of each run changes, and which gains are significant on one of them alone.

The reports that this compares are written by `make reproduce` with each of COMPARED, on a machine of each kind.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from benchmarks.common import EXPERIMENT, reports_of, write_tables
from qhyvit.config.loading import load_config
from qhyvit.evaluation.statistics import CONFIDENCE
from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import FP32, MethodCatalog, read_catalog
from qhyvit.reporting.correctness import read_correct
from qhyvit.reporting.runs import bits_shown
from qhyvit.reporting.tables.gains import SETTING, gains, gains_shown
from qhyvit.reporting.write import interval_shown

COMPARED = (EXPERIMENT, Path("config/experiments/all-methods-xeon.yaml"))
GAIN = ["gain", "low", "high", "p"]
SIDES = ("_first", "_second")
CHANGES = (
    "Points of top-1 that each run gains on {second} over the same run on {first}, with the 95 % paired interval over images; an asterisk"
    " marks p < 0.05 after Holm's correction over all cells in which an image differs."
)
GAINS = (
    "Gains over other methods that are significant on one of the processors alone, in points of top-1 with their 95 % paired intervals over"
    " images, as `paired` of each report has them. Of {rows} gains in both reports, {both} are significant on both processors,"
    " {first} on {names[0]} alone and {second} on {names[1]} alone. Of those significant on both, {opposite} have the opposite sign."
)


def main() -> None:
    """Write processors and processors_gains in reports/benchmarks, of the reports of both experiments."""
    first, second = reports = reports_of(COMPARED)
    methods = read_catalog(load_config(EXPERIMENT).experiment.methods_file)
    names = processor_of(first), processor_of(second)
    if names[0] == names[1]:
        sys.exit(f"{first} and {second}: both of {names[0]}; run one of the experiments on another processor")
    changes = processor_changes(read_correct(first / "correct.csv"), read_correct(second / "correct.csv"), methods)
    notes = f"{CHANGES.format(first=names[0], second=names[1])} {run_note(changes)}"
    write_tables(
        "processors", changes.drop(columns=["dataset", "baseline"]), gains_shown(changes).drop(columns=["mode", "baseline"]), notes
    )
    both = both_gains(*(pd.read_csv(report / "tables/paired.csv") for report in reports))
    write_tables("processors_gains", both.drop(columns="dataset"), both_shown(both, names), both_note(both, names))


def processor_of(report: Path) -> str:
    """Return the name of the one processor of all runs of a report."""
    names = pd.read_csv(report / "provenance/runs.csv").processor.unique()
    if len(names) != 1:
        sys.exit(f"{report / 'provenance/runs.csv'}: runs on {' and '.join(map(str, names))}; run the experiment on one processor")
    return str(names[0])


def processor_changes(first: pd.DataFrame, second: pd.DataFrame, methods: MethodCatalog) -> pd.DataFrame:
    """Return the `gains` of each method on the second processor over itself on the first, both tables of `correct_table`."""
    quantized = [name for name in methods.order(first.method) if name != FP32 and name in set(second.method)]
    before = {name: f"{name} before" for name in quantized}
    correct = pd.concat([second, first.assign(method=first.method.map(before))])
    return gains(correct, before.items(), methods)


def both_gains(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that two tables of `gains` share, with GAIN of each as `gain_first` and `gain_second`, and which are significant."""
    both = first.merge(second, on=[*SETTING, "model", "images"], suffixes=SIDES, validate="one_to_one")
    return both.assign(**{f"significant{side}": both[f"p{side}"] < 1 - CONFIDENCE for side in SIDES})[
        [*SETTING, "model", "images", *(f"{name}{side}" for side in SIDES for name in [*GAIN, "significant"])]
    ]


def both_shown(rows: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Return as text the rows that are significant on one processor alone."""
    alone = rows[rows.significant_first != rows.significant_second]
    cells = {
        name: interval_shown(*(alone[f"{column}{side}"] for column in GAIN[:3])) + np.where(alone[f"significant{side}"], "*", "")
        for name, side in zip(names, SIDES, strict=True)
    }
    return pd.DataFrame({"bits": bits_shown(alone), "method": alone.method, "baseline": alone.baseline, "network": alone.model} | cells)


def both_note(rows: pd.DataFrame, names: tuple[str, str]) -> str:
    """Return the caption of `both_shown`: how many gains are significant on each processor."""
    first, second = rows.significant_first, rows.significant_second
    opposite = first & second & (np.sign(rows.gain_first) != np.sign(rows.gain_second))
    counts = {"rows": len(rows), "both": (first & second).sum(), "first": (first & ~second).sum(), "second": (second & ~first).sum()}
    return GAINS.format(**counts, opposite=opposite.sum(), names=names)


if __name__ == "__main__":
    typer.run(main)
