"""Command `diff`. It reads committed files, so that it needs neither a run nor data."""

import subprocess
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from qhyvit.cli import options
from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.evaluation.statistics import CONFIDENCE
from qhyvit.reporting.correctness import read_hits
from qhyvit.reporting.diff import VERDICTS, changes, with_hits
from qhyvit.reporting.runs import COLUMNS, read_results

SHOWN = ("model", "method", "mode", "bits", "old", "new", "change", "interval", "p", "by", "verdict")
STYLES = {"worse": "red", "better": "green"}
WIDTH = 140  # of lines that no terminal shows


def diff(
    config: options.Config,
    revision: Annotated[str, typer.Argument(help="Git revision, for example HEAD~1.")] = "HEAD",
) -> None:
    """Compare results.csv with that of a git revision; exit code 1 says that a run got significantly worse."""
    reports = load_config(config, allow_unset_env=True).experiment.reports
    results, hits = reports / "results.csv", reports / "hits.csv"
    _require_commit(revision)
    old, new = _committed(results, revision), _present(results)
    if old is None:
        raise InputError(f"{results}: not there at {revision}; `git log --oneline -- {results}` lists the commits that changed it")
    if new is None:
        raise InputError(f"{results}: not there; bring it back with `git checkout -- {results}`, or run the experiment")
    before = _runs(f"{results} at {revision}", old, _committed(hits, revision))
    after = _runs(str(results), new, _present(hits))
    changed = changes(before, after)
    _show(changed, f"{results} since {revision}", f"{len(before)} runs at {revision}, {len(after)} now")
    if "worse" in set(changed.verdict):
        raise typer.Exit(1)


def _require_commit(revision: str) -> None:
    found = _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise InputError(
            f"{revision}: no commit known here ({' '.join(found.stderr.split())}); `git log --oneline` lists them, and in a shallow clone"
            " `git fetch --unshallow` brings the others"
        )


def _committed(path: Path, revision: str) -> str | None:
    shown = _git("show", "--end-of-options", f"{revision}:./{path.as_posix()}")
    return None if shown.returncode else shown.stdout


def _present(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)


def _runs(name: str, results: str, hits: str | None) -> pd.DataFrame:
    header = results.partition("\n")[0].split(",")
    lacking = [column for column in COLUMNS if column not in header]
    if lacking:
        raise InputError(f"{name}: has no column {', '.join(lacking)}; compare with a later revision, or write the file anew")
    return with_hits(read_results(StringIO(results)), None if hits is None else read_hits(StringIO(hits)))


def _show(changed: pd.DataFrame, title: str, compared: str) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    if changed.empty:
        console.print(f"{title}: nothing changed ({compared})")
        return
    console.print(_table(changed, f"{title}: top-1 in percent, change and its 95 % interval in points"))
    counts = changed.verdict.value_counts()
    console.print(f"{compared}; " + ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS))
    console.print(f"p is adjusted for all changed runs (Holm): below {1 - CONFIDENCE:.2f} a run is worse or better")
    if "interval" in set(changed.by):
        console.print("by interval: there are no hits on the same images before and after, so only larger changes can be told from chance")


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
    if pd.isna(row["p"]):
        return [old, new, "", "", ""]
    return [old, new, f"{row['change']:+.2f}", f"[{row['low']:+.2f}, {row['high']:+.2f}]", f"{row['p']:.2g}"]
