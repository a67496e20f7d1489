"""The ablation of the tuning over all its draws: points of top-1 that `qhyvit-tuned` gains over each variant of itself.

The reports that this reads are written by `make reproduce` with each of EXPERIMENTS, which have different draws of the calibration images.
"""

from pathlib import Path

import pandas as pd
import typer

from benchmarks.common import reports_of, write_tables
from qhyvit.config.loading import load_config
from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import FP32, MethodCatalog, read_catalog
from qhyvit.reporting.correctness import read_correct
from qhyvit.reporting.runs import BITS
from qhyvit.reporting.tables.gains import gains, gains_shown

EXPERIMENTS = (Path("config/experiments/tuning-variants.yaml"), Path("config/experiments/tuning-variants-draws.yaml"))
METHOD = "qhyvit-tuned"
NOTE = (
    f"Points of top-1 that `{METHOD}` gains over each variant, with the 95 % paired interval over images and over {{draws}} draws of the"
    " calibration images. An asterisk marks p < 0.05 after Holm's correction over all cells in which an image differs."
    " Processors by draw: {processors}."
)


def main() -> None:
    """Write tuning_ablation in reports/benchmarks, of the bit-widths that all EXPERIMENTS have."""
    reports = reports_of(EXPERIMENTS)
    methods = read_catalog(load_config(EXPERIMENTS[0]).experiment.methods_file)
    table = ablation([read_correct(report / "correct.csv") for report in reports], methods)
    runs = pd.concat(pd.read_csv(report / "provenance/runs.csv") for report in reports)
    note = NOTE.format(draws=table.seeds.max(), processors=processors_by_seed(runs))
    shown = gains_shown(table).drop(columns=["mode", "method"])
    write_tables("tuning_ablation", table.drop(columns="dataset"), shown, f"{note} {run_note(table)}")


def ablation(correct: list[pd.DataFrame], methods: MethodCatalog) -> pd.DataFrame:
    """Return the `gains` of METHOD over all variants, at the bit-widths that all of ``correct`` have, each a `correct_table`."""
    shared = set.intersection(*(set(map(tuple, table[BITS].to_numpy().tolist())) for table in correct))
    runs = pd.concat(correct, ignore_index=True)
    runs = runs[[bits in shared for bits in map(tuple, runs[BITS].to_numpy().tolist())]]
    variants = [name for name in methods.order(runs.method) if name not in (FP32, METHOD)]
    return gains(runs, [(METHOD, variant) for variant in variants], methods)


def processors_by_seed(runs: pd.DataFrame) -> str:
    """Return the processors of runs with the seeds of each."""
    seeds = runs.groupby("processor").seed.unique()
    return "; ".join(f"{name}, seed {' and '.join(map(str, sorted(of_processor)))}" for name, of_processor in seeds.items())


if __name__ == "__main__":
    typer.run(main)
