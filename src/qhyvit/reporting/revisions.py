"""Results of the working tree and of git revisions."""

import os
import subprocess
from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path

import pandas as pd

from qhyvit.errors import InputError
from qhyvit.own_files import of_another_kind
from qhyvit.reporting.correctness import read_correct
from qhyvit.reporting.diff import with_correct
from qhyvit.reporting.runs import COLUMNS, check_runs, read_results


def why_no_commit(revision: str) -> str | None:
    """Return, in git's words, why ``revision`` names no commit of a git checkout here; None if it does."""
    result = _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    return " ".join(result.stderr.split()) if result.returncode else None


def require_commit(revision: str) -> None:
    """Raise InputError unless ``revision`` names a commit of a git checkout here."""
    if said := why_no_commit(revision):
        raise InputError(
            f"{revision}: no such commit here ({said}); `git log --oneline` lists the commits, and in a shallow clone"
            " `git fetch --unshallow` gets the others"
        )


def present_runs(reports: Path) -> pd.DataFrame | None:
    """Return the runs in the folder ``reports`` (`with_correct`), or None if it has no results.csv. Raises InputError for another table."""
    files = [path.read_text(encoding="utf-8-sig", errors="replace") if path.exists() else None for path in _files(reports)]
    return _runs(str(reports / "results.csv"), *files)


def committed_runs(reports: Path, revision: str) -> pd.DataFrame | None:
    """Return the runs in ``reports`` at ``revision``, or None if it had no results.csv. Raises InputError for another table."""
    shown = [_git("show", "--end-of-options", f"{revision}:./{Path(os.path.relpath(path)).as_posix()}") for path in _files(reports)]
    files = [None if result.returncode else result.stdout for result in shown]
    return _runs(f"{reports / 'results.csv'} at {revision}", *files)


def _files(reports: Path) -> tuple[Path, Path]:
    return reports / "results.csv", reports / "correct.csv"


def _runs(name: str, results: str | None, correct: str | None) -> pd.DataFrame | None:
    if results is None:
        return None
    header = results.partition("\n")[0].split(",")
    if missing := [column for column in COLUMNS if column not in header]:
        raise InputError(f"{name}: has no column {', '.join(missing)}; compare with a later revision, or run the experiment again")
    with _gathered(name):
        runs = read_results(StringIO(results))
        check_runs(runs)
    with _gathered(name.replace("results.csv", "correct.csv")):
        return with_correct(runs, None if correct is None else read_correct(StringIO(correct)))


def _gathered(name: str) -> AbstractContextManager[None]:
    """Raise InputError for all errors in the block by which a file shows that `qhyvit aggregate` has not written it."""
    return of_another_kind(lambda said: f"{name}: not written by `qhyvit aggregate` ({said}); restore it, or run the experiment again")


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False)
