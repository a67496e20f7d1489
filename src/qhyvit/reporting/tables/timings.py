"""Seconds of the jobs of each run, from Snakemake's benchmark files. They differ from run to run, so no result has them."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from qhyvit.reporting.benchmark_files import Quantization, calibration_file, quantization_files, seconds
from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.runs import CELL, in_order, read_results
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table

JOBS = ["calibrate", "quantize"]


def make(sources: Sources) -> Table:
    """Make the table from results.csv and the folder of benchmark files of its data set."""
    keys = {name: method.recalibration_key for name, method in sources.experiment().methods.items()}
    rows = timings(read_results(sources.one("results")), sources.one("benchmarks"), sources.methods, keys)
    return Table(rows, rows)


def timings(results: pd.DataFrame, benchmarks: Path, methods: MethodCatalog, keys: Mapping[str, str | None]) -> pd.DataFrame:
    """Return one row per quantized run, averaged over seeds: `CELL`, and the seconds of its JOBS, with its recalibration if it has one.

    ``keys`` are the recalibration keys of methods; methods with equal keys share a job, whose seconds count for each of them.
    ``benchmarks`` is the folder of the benchmark files of one data set; a job without one has NaN.
    """
    runs = results[results.method != FP32]
    rows = [row | _seconds_of_run(row, benchmarks, keys.get(str(row["method"]))) for row in runs[[*CELL, "seed"]].to_dict("records")]
    table = pd.DataFrame(rows, columns=[*CELL, "seed", *JOBS])
    return in_order(table.groupby(CELL, as_index=False)[JOBS].mean(skipna=False), methods, CELL)


def _seconds_of_run(row: Mapping[Hashable, Any], benchmarks: Path, key: str | None) -> dict[str, float]:
    run = Quantization(row["model"], str(row["seed"]), row["method"], row["mode"], f"w{row['w_bits']}a{row['a_bits']}")
    return {
        "calibrate": seconds(benchmarks, calibration_file(run.model, run.seed)),
        "quantize": sum(seconds(benchmarks, name) for name in quantization_files(run, key)),
    }
