"""Command `diff`. It reads committed files, so that it needs neither a run nor data."""

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from qhyvit.cli import options
from qhyvit.cli.console import wide_console
from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.evaluation.statistics import CONFIDENCE
from qhyvit.reporting.diff import VERDICTS, changes
from qhyvit.reporting.revisions import committed_runs, present_runs, require_commit

SHOWN = ("model", "method", "mode", "bits", "old", "new", "change", "interval", "p", "by", "verdict")
STYLES = {"worse": "red", "better": "green"}


def diff(
    config: options.Config,
    revision: Annotated[str, typer.Argument(help="Git revision, for example HEAD~1.")] = "HEAD",
) -> None:
    """Compare results.csv with that of a git revision; exit code 1 says that a run got significantly worse."""
    reports = load_config(config, allow_unset_env=True).experiment.reports
    results = reports / "results.csv"
    require_commit(revision)
    before, after = committed_runs(reports, revision), present_runs(reports)
    if before is None:
        raise InputError(f"{results}: not there at {revision}; `git log --oneline -- {results}` lists the commits that changed it")
    if after is None:
        raise InputError(f"{results}: not there; restore it with `git checkout -- {results}`, or run the experiment")
    changed = changes(before, after)
    _show(changed, f"{results} since {revision}", f"{len(before)} runs at {revision}, {len(after)} now")
    if "worse" in set(changed.verdict):
        raise typer.Exit(1)


def _show(changed: pd.DataFrame, title: str, compared: str) -> None:
    console = wide_console()
    if changed.empty:
        console.print(f"{title}: nothing changed ({compared})")
        return
    console.print(_table(changed, f"{title}: top-1 in percent, change and its 95 % interval in points"))
    counts = changed.verdict.value_counts()
    console.print(f"{compared}; " + ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS))
    console.print(f"p is adjusted for all changed runs (Holm): below {1 - CONFIDENCE:.2f} a run is worse or better")
    if "interval" in set(changed.by):
        console.print("by interval: the correct images are not known before and after, so only larger changes stand out from chance")


def _table(changed: pd.DataFrame, title: str) -> Table:
    several = [name for name in ("dataset", "seed") if changed[name].nunique() > 1]
    columns = (Column(name, overflow="fold") for name in (*several, *SHOWN))
    table = Table(*columns, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in changed.to_dict("records"):
        run = [*(row[name] for name in (*several, "model", "method", "mode")), f"W{row['w_bits']}A{row['a_bits']}"]
        table.add_row(*map(str, run), *_numbers(row), row["by"], row["verdict"], style=STYLES.get(row["verdict"]))
    return table


def _numbers(row: Mapping[Any, Any]) -> list[str]:
    old, new = ("" if pd.isna(row[side]) else f"{row[side]:.2f}" for side in ("old", "new"))
    p = "" if pd.isna(row["p"]) else f"{row['p']:.2g}"
    if pd.isna(row["change"]):
        return [old, new, "", "", p]
    return [old, new, f"{row['change']:+.2f}", f"[{row['low']:+.2f}, {row['high']:+.2f}]", p]
