"""Data that DVC tracks by hash: those of the project in `data.dvc`, and private ones, each by a file next to it (`imagenet/x.dvc`).

Private data may not be redistributed. Their folder is a DVC repository of its own: no command of the project's repository pushes them to
the project's store, and a clone without their remote still pulls the project's data.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from shutil import disk_usage
from typing import Any

from pydantic import TypeAdapter

from qhyvit.commit import is_checkout
from qhyvit.config.loading import read_yaml
from qhyvit.data.private_remote import PRIVATE, require_remote
from qhyvit.errors import InputError
from qhyvit.own_files import written_by

DVC_FILE = Path("data.dvc")
TRACKED = TypeAdapter(dict[str, Any])
LONGEST = 600  # characters of a message of DVC, which may list thousands of hashes
CORRUPTED = re.compile(r"corrupted cache file '[^']*?(files/md5/\w\w/\w+(?:\.dir)?)'")


def is_private(path: Path) -> bool:
    """Tell if a path is in the folder of private data."""
    return PRIVATE in path.parents and ".." not in path.parts


def tracked_hash(path: Path) -> str | None:
    """Return the hash that DVC's files state for ``path`` or for a folder that holds it; None if DVC does not track it."""
    tracked = tracked_path(path)
    return _hashes(path)[tracked] if tracked else None


def tracked_path(path: Path) -> Path | None:
    """Return the path that DVC tracks: ``path`` or a folder that holds it; None if it tracks neither."""
    hashes = _hashes(path)
    return next((place for place in (path, *path.parents) if place in hashes), None)


def dvc_file(path: Path) -> Path:
    """Return the file by which DVC tracks a private ``path``."""
    return path.with_name(f"{path.name}.dvc")


def how_to_restore(path: Path) -> str:
    """Advice for a missing ``path``, as part of an error message."""
    return _restore(path) if tracked_hash(path) else "put it there (DVC does not track it)"


def how_to_repair(path: Path) -> str:
    """Advice for a damaged ``path``, as part of an error message."""
    return _restore(path) if tracked_hash(path) else "replace it with an intact copy, or remove it"


def pull(target: Path) -> None:
    """Get a path that DVC tracks with `dvc pull`, also in a copy without git. Objects of a private remote are verified.

    A part of a tracked folder is no target: DVC may take it for another part that it has.

    Raises InputError, with what DVC said, if the remote cannot deliver it intact, and if there is no private remote for a private target.
    """
    has_git = is_checkout(Path.cwd())
    if not has_git:  # DVC asks for git unless its configuration, here that of this folder alone, says otherwise
        run_dvc(target, "config", "--local", "core.no_scm", "true")
    if is_private(target):
        _verify_downloads(target)
    result = run_dvc(target, "pull", name_in_repository(target))
    if not result.returncode:
        return
    fix = _fix_private(target) if is_private(target) else _fix_own(target, has_git)
    raise InputError(f"{target}: `dvc pull` failed: {said(result)} {fix}")


def name_in_repository(path: Path) -> str:
    """Return a path as the commands of its DVC repository take it."""
    return str(path.relative_to(PRIVATE) if is_private(path) else path)


def run_dvc(target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of DVC in the repository of ``target``, once no other has the lock."""
    repository = PRIVATE if is_private(target) else Path()
    command = [sys.executable, "-m", "dvc", "--cd", str(repository), "--wait-for-lock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def said(result: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed command of DVC said, in one line."""
    return textwrap.shorten(result.stderr, LONGEST, placeholder=" ...") or f"exit code {result.returncode}"


def _hashes(path: Path) -> dict[Path, str]:
    return _private_hashes(path) if is_private(path) else _stated(DVC_FILE)


def _stated(file: Path) -> dict[Path, str]:
    if not file.is_file():
        return {}
    tracked = read_yaml(file, TRACKED)
    with written_by(file, "DVC"):
        return {file.parent / out["path"]: str(out["md5"]) for out in tracked["outs"]}


def _private_hashes(path: Path) -> dict[Path, str]:
    places = [place for place in (path, *path.parents) if is_private(place)]
    return {tracked: digest for place in places for tracked, digest in _stated(dvc_file(place)).items()}


def _restore(path: Path) -> str:
    return f"restore it with `dvc --cd {PRIVATE} pull --force`" if is_private(path) else "restore it with `dvc pull --force`"


def _verify_downloads(target: Path) -> None:
    """Have DVC hash what it downloads from the private remote, on this machine: by default it trusts the names of the objects."""
    remote = require_remote()
    if not remote.verifies:
        run_dvc(target, "config", "--local", f"remote.{remote.name}.verify", "true")


def _fix_private(target: Path) -> str:
    """Name the fix of a failed pull, and the object that is corrupted: DVC says it to those alone who ask for all details.

    DVC pushes no image of a folder whose list the remote has, so that the list has to be deleted too.
    """
    remote, digest = require_remote(), str(tracked_hash(target))
    listed = [f"files/md5/{digest[:2]}/{digest[2:]}"] if digest.endswith(".dir") else []
    share = f"`qhyvit share {target}` on a machine that has it"
    found = CORRUPTED.search(run_dvc(target, "fetch", "--verbose", name_in_repository(target)).stdout)
    if found:
        objects = " and ".join(dict.fromkeys([found[1], *listed]))
        return f"The remote {remote} holds a corrupted {found[1]} (fix: delete there {objects}, then {share})"
    fix = f"delete there {listed[0]}, then {share}" if listed else share
    changed = f"{target} was changed here (to drop the change: `dvc --cd {PRIVATE} pull --force`)"
    return f"Either the remote {remote} lacks an object (fix: {fix}) or cannot be reached, or {changed}, or {_full()}"


def _fix_own(target: Path, has_git: bool) -> str:
    restore = "`git checkout -- dvc-store`" if has_git else "unpack dvc-store again"
    return (
        f"Either the DVC remote lacks an object or holds a corrupted one (fix: {restore}, or"
        f" `dvc push` from an intact copy), or {target} was changed here (to keep the change: `dvc commit data.dvc`), or {_full()}"
    )


def _full() -> str:
    """Name a cause that DVC does not tell when it places files that it has fetched."""
    return f"the disk is full ({disk_usage(Path.cwd()).free / 2**20:,.0f} MiB are free)"
