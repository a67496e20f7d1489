"""Command `reproduced`. It reads committed files, so that it needs neither a run nor data."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from qhyvit.cli import options
from qhyvit.cli.console import wide_console
from qhyvit.config.experiment import Experiment
from qhyvit.config.loading import load_config
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.reproduction import agreement
from qhyvit.reporting.revisions import committed_runs, present_runs, why_no_commit
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables import accuracy

REVISION = "HEAD"


def reproduced(config: options.Config) -> None:
    """Count the runs that agree with the committed results, for each network, or show the results if none are committed."""
    experiment = load_config(config, allow_unset_env=True).experiment
    reports = experiment.reports
    console, present = wide_console(), present_runs(reports)
    if present is None:
        console.print(f"{reports / 'results.csv'}: not there, so there is nothing to compare with the committed results")
    elif said := _why_nothing_is_committed():
        console.print(f"no git checkout with a commit here, so there are no committed results to compare with ({said})")
        _print_results(console, experiment)
    elif (committed := committed_runs(reports, REVISION)) is None:
        console.print(f"{reports / 'results.csv'}: not committed, so it is compared with nothing")
        _print_results(console, experiment)
    else:
        counts = agreement(committed, present)
        rows = [[model, *row] for model, row in [*counts.iterrows(), ("all", counts.sum())]]
        title = f"Runs of {reports / 'results.csv'}, compared with the committed ones"
        console.print(_table([Column("network"), *(Column(str(name), justify="right") for name in counts)], rows, title))
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


def _print_results(console: Console, experiment: Experiment) -> None:
    """Print the table of accuracies of a run, which has no correct.csv if it was not concluded."""
    paths = {kind: [experiment.reports / f"{kind}.csv"] for kind in ("results", "correct")}
    if not paths["correct"][0].exists():
        return
    shown = accuracy.make(Sources(read_catalog(experiment.methods_file), paths)).shown.fillna("")
    title = "Top-1 in percent, and its drop from FP32 in points with the 95 % interval"
    console.print(_table([Column(str(name)) for name in shown], shown.itertuples(index=False), title))


def _table(columns: Iterable[Column], rows: Iterable[Iterable[object]], title: str) -> Table:
    table = Table(*columns, title=title, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(str, row))
    return table
