"""Command `reproduced`. It reads committed files, so that it needs neither a run nor data."""

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from qhyvit.cli import options
from qhyvit.cli.console import wide_console
from qhyvit.config.loading import load_config
from qhyvit.reporting.reproduction import agreement
from qhyvit.reporting.revisions import committed_runs, present_runs, why_no_commit

REVISION = "HEAD"


def reproduced(config: options.Config) -> None:
    """Count the runs that agree with the committed results, for each network."""
    reports = load_config(config, allow_unset_env=True).experiment.reports
    console, present = wide_console(), present_runs(reports)
    if present is None:
        console.print(f"{reports / 'results.csv'}: not there, so there is nothing to compare with the committed results")
    elif said := _why_nothing_is_committed():
        console.print(f"no git checkout with a commit here, so there are no committed results to compare with ({said})")
    elif (committed := committed_runs(reports, REVISION)) is None:
        console.print(f"{reports / 'results.csv'}: not committed, so there is nothing to compare this run with")
    else:
        counts = agreement(committed, present)
        console.print(_shown(counts, f"Runs of {reports / 'results.csv'}, compared with the committed ones"))
        console.print(
            f"{counts['equal'].sum()} of {counts.total.sum()} quantized runs are equal. Chance is judged by a paired test with p < 0.05,"
            " adjusted for all changed runs (Holm); `make diff` lists them."
        )
    if (page := reports / "report.html").exists():
        console.print(f"The report is {page}.")


def _why_nothing_is_committed() -> str | None:
    try:
        return why_no_commit(REVISION)
    except FileNotFoundError:
        return "there is no program git in PATH"


def _shown(counts: pd.DataFrame, title: str) -> Table:
    table = Table("network", *(Column(str(name), justify="right") for name in counts), title=title, box=SIMPLE_HEAD)
    for model, row in [*counts.iterrows(), ("all", counts.sum())]:
        table.add_row(str(model), *map(str, row))
    return table
