"""Data that DVC tracks by hash in `data.dvc`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qhyvit.commit import is_checkout
from qhyvit.config.loading import read_yaml
from qhyvit.errors import InputError
from qhyvit.own_files import written_by

DVC_FILE = Path("data.dvc")
TRACKED = TypeAdapter(dict[str, Any])
RESTORE = "restore it with `dvc pull --force`"


def tracked_hash(path: Path) -> str | None:
    """Return the hash that `data.dvc` states for ``path`` or for a folder that holds it; None if DVC does not track it."""
    if not DVC_FILE.exists():
        return None
    tracked = read_yaml(DVC_FILE, TRACKED)
    with written_by(DVC_FILE, "DVC"):
        hashes = {Path(out["path"]): str(out["md5"]) for out in tracked["outs"]}
    return next((hashes[place] for place in (path, *path.parents) if place in hashes), None)


def how_to_restore(path: Path) -> str:
    """Advice for a missing ``path``, as part of an error message."""
    return RESTORE if tracked_hash(path) else "put it there (DVC does not track it)"


def how_to_repair(path: Path) -> str:
    """Advice for a damaged ``path``, as part of an error message."""
    return RESTORE if tracked_hash(path) else "replace it with an intact copy, or remove it"


def pull(target: Path) -> None:
    """Get one target with `dvc pull`, for which a copy without git will do.

    Raises InputError, with what DVC said, if the remote cannot deliver it intact.
    """
    has_git = is_checkout(Path.cwd())
    if not has_git:  # DVC asks for git unless its configuration, here that of this folder alone, says otherwise
        subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"], capture_output=True, check=False)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "pull", "--quiet", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        said = " ".join(result.stderr.split()) or f"exit code {result.returncode}"
        restore = "`git checkout -- dvc-store`" if has_git else "unpack dvc-store again"
        raise InputError(
            f"{target}: `dvc pull` failed: {said} Either the DVC remote lacks an object or holds a corrupted one (fix: {restore}, or"
            f" `dvc push` from an intact copy), or {target} was changed here (to keep the change: `dvc commit data.dvc`)"
        )
