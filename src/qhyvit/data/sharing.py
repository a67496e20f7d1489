"""Sharing of private data: track them by hash, and push them to the remote that the user has named."""

from pathlib import Path
from urllib.parse import urlparse

from qhyvit.data.dvc import dvc_file, is_private, name_in_repository, run_dvc, said, tracked_path
from qhyvit.data.private_remote import CONFIG, NAME_ONE, PRIVATE, Remote, require_remote
from qhyvit.errors import InputError


def share(paths: list[Path]) -> Remote:
    """Track files or folders of private data by `dvc add`, push them, and return the remote that has them now.

    Raises InputError for other data, for data that have changed since they were tracked, and with what DVC said if it fails.
    """
    remote = require_private_remote()
    for path in paths:
        _require_shareable(path)
    for path in paths:
        _track(path)
    _require_success(paths[0], "push", *map(name_in_repository, paths))
    return remote


def require_private_remote() -> Remote:
    """Return the remote of the private data, if what is pushed there leaves the clone.

    Raises InputError as `require_remote` does, and for a URL without a host (`file:///folder`), which DVC takes for a path in the clone.
    """
    remote = require_remote()
    if "://" in remote.url and not urlparse(remote.url).netloc:
        raise InputError(f"{CONFIG}: {remote} is a URL without a host, which DVC takes for a folder in this project; {NAME_ONE}")
    return remote


def _require_shareable(path: Path) -> None:
    if not is_private(path):
        raise InputError(f"{path}: not in the folder {PRIVATE}, whose remote is private; move it there")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; make it by `make subset`, or fetch the weights first")


def _track(path: Path) -> None:
    tracked = tracked_path(path)
    if tracked is None:
        _require_success(path, "add", name_in_repository(path))
    elif tracked != path:
        raise InputError(f"{path}: DVC tracks {tracked}, of which it is a part; share that")
    elif run_dvc(path, "status", "--quiet", name_in_repository(dvc_file(path))).returncode:
        undo = f"`dvc --cd {PRIVATE} checkout --force {name_in_repository(path)}`"
        raise InputError(f"{path}: has changed since {dvc_file(path)} recorded it; to undo this: {undo}, to keep it: remove that file")


def _require_success(path: Path, *command: str) -> None:
    result = run_dvc(path, *command)
    if result.returncode:
        raise InputError(f"{path}: `dvc {command[0]}` failed: {said(result)}; check {require_remote()}, and repeat the command")
