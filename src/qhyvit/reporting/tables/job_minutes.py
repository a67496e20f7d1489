"""Time that all jobs of an experiment take, by rule, from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd

from qhyvit.config.loading import Config
from qhyvit.reporting.benchmark_files import experiment_files, seconds
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals


def make(sources: Sources) -> Table:
    """Make the table from the experiment and the folder of benchmark files of its data set."""
    rows = job_minutes(sources.experiment(), sources.one("benchmarks"))
    missing = int((rows.jobs - rows.timed).sum())
    note = f"{missing} jobs left no benchmark, so that the times are too small." if missing else ""
    return Table(rows, rows.assign(minutes=decimals(rows.minutes)), note)


def job_minutes(config: Config, benchmarks: Path) -> pd.DataFrame:
    """Return one row per rule: ``jobs``, those of them that are ``timed``, and the wall-clock ``minutes`` of these one after another.

    ``benchmarks`` is the folder of the benchmark files of the data set. An experiment that found results of another counts their jobs, too.
    """
    names = sorted(experiment_files(config))
    table = pd.DataFrame({"rule": [name.partition("/")[0] for name in names], "seconds": [seconds(benchmarks, name) for name in names]})
    by_rule = table.groupby("rule").seconds
    return pd.DataFrame({"jobs": by_rule.size(), "timed": by_rule.count(), "minutes": by_rule.sum() / 60}).reset_index()
