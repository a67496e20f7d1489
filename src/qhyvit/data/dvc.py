"""Data that DVC tracks by hash in `data.dvc`."""

import subprocess
import sys
from pathlib import Path

import yaml

from qhyvit.errors import InputError

DVC_FILE = Path("data.dvc")


def tracked_hash(path: Path) -> str | None:
    """The hash that `data.dvc` states for ``path`` or for the folder that holds it; None where it is not tracked."""
    if not DVC_FILE.exists():
        return None
    hashes = {Path(out["path"]): str(out["md5"]) for out in yaml.safe_load(DVC_FILE.read_text())["outs"]}
    return next((hashes[place] for place in (path, *path.parents) if place in hashes), None)


def pull(target: Path) -> None:
    """`dvc pull` one target. Raises InputError, with what DVC said, when the remote cannot deliver it intact."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "pull", "--quiet", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        said = " ".join(result.stderr.split()) or f"exit code {result.returncode}"
        raise InputError(
            f"{target}: `dvc pull` failed: {said} Either the DVC remote lacks an object or holds a corrupted one (mend it: `git checkout"
            f" -- dvc-store`, or `dvc push` from an intact copy), or {target} was changed here (keep the change: `dvc commit data.dvc`)"
        )
