"""Commit of the code, as far as its archive or git can tell it."""

import subprocess
import warnings
from pathlib import Path

UNKNOWN = "unknown"


def git_commit() -> str:
    """Return the commit of the code: that of the archive that it is from, or of its checkout, or "unknown".

    A warning says why git cannot tell the commit of a checkout.
    """
    code = Path(__file__).resolve().parent
    if archived := _archived_commit(code):
        return archived
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=code, capture_output=True, text=True, check=False)
        commit, said = "" if result.returncode else result.stdout.strip(), " ".join(result.stderr.split())
    except FileNotFoundError:
        commit, said = "", "there is no program git in PATH"
    if not commit and is_checkout(code):
        warnings.warn(f"results record the commit as unknown: {said}", stacklevel=2)
    return commit or UNKNOWN


def _archived_commit(code: Path) -> str:
    """Return the commit that `git archive` has put into its copy of the file COMMIT; empty elsewhere."""
    text = (code / "COMMIT").read_text(encoding="utf-8").strip()
    return "" if text.startswith("$Format") else text


def is_checkout(folder: Path) -> bool:
    """Tell if ``folder`` is in a git checkout, whether git is installed or not."""
    return any((place / ".git").exists() for place in (folder, *folder.parents))
