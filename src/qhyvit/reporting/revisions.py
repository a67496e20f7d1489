"""Committed files of earlier revisions, by git."""

import subprocess
from pathlib import Path

from qhyvit.errors import InputError


def require_commit(revision: str) -> None:
    """Raise InputError unless ``revision`` names a commit of the git checkout."""
    result = _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if result.returncode:
        raise InputError(
            f"{revision}: no such commit here ({' '.join(result.stderr.split())}); `git log --oneline` lists the commits, and in a shallow"
            " clone `git fetch --unshallow` gets the others"
        )


def committed_text(path: Path, revision: str) -> str | None:
    """Return the text of ``path`` at ``revision``, or None if it is not there."""
    shown = _git("show", "--end-of-options", f"{revision}:./{path.as_posix()}")
    return None if shown.returncode else shown.stdout


def present_text(path: Path) -> str | None:
    """Return the text of ``path`` in the working tree, or None if it is not there."""
    return path.read_text() if path.exists() else None


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InputError("git: not installed; it reads the committed results, so install it") from error
