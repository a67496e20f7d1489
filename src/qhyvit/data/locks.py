"""Locks that processes of one or several machines hold while they make a file that they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from qhyvit.errors import InputError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, whose folder is made if it is missing. Raises InputError if neither can be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path).acquire()
    except OSError as error:
        raise InputError(f"{path.parent}: no folder in which files can be made ({error.strerror}); give another, or make it one") from error
    with held:
        yield
