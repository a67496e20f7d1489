"""Files and folders that are written whole or not at all, and hashes of files.

A disk that is full or fails, a folder that cannot be written, and a path that no file can have raise UnwritableError, which names the path.
"""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qhyvit.errors import CLOSED, FULL, MISPLACED, InputError, UnwritableError

FAILED = FULL | {errno.EIO}
STREAM_FAILED = "iostream error"  # all that C++ says


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; it takes the place of ``path`` only when the block ends without an error.

    If ``path`` is a link, the file that it points to is replaced. Raises InputError for a path of anything but a file.
    """
    target = target_of(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with _writing(path, temporary):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()  # libraries say less of a folder that cannot be written
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # safetensors leaves files that only their owner may read
            temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink()


def target_of(path: Path) -> Path:
    """Return the file that a write to ``path`` replaces, with links resolved. Raises InputError for anything but a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = stat.S_IFREG
    except OSError as error:
        raise UnwritableError(path, error.errno or errno.EIO) from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; give the path of a file")
    return path.resolve() if path.is_symlink() else path


def require_writable(path: Path) -> None:
    """Raise InputError if the file ``path`` cannot be written, as far as its parent folders and their permissions show."""
    place = target_of(path).absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UnwritableError(path, errno.ENOTDIR)
    if not os.access(place, os.W_OK | os.X_OK):
        raise UnwritableError(path, errno.EACCES)


@contextmanager
def _writing(path: Path, temporary: Path) -> Iterator[None]:
    """Raise UnwritableError for errors in the block by which ``path``, or what becomes ``path``, cannot be written."""
    try:
        yield
    except Exception as error:  # of any kind: libraries have their own
        code = _why_unwritable(error, path, temporary)
        if code is None:
            raise
        raise UnwritableError(path, code) from error


def _why_unwritable(error: Exception, path: Path, temporary: Path) -> int | None:
    """Return the errno of an error that concerns the writing of ``path``, and None for any other error."""
    if isinstance(error, UnwritableError) and error.path.is_relative_to(temporary):
        return error.code
    if isinstance(error, InputError):
        return None
    if not isinstance(error, OSError):
        said = str(error)
        return next((code for code in FAILED if os.strerror(code) in said), errno.EIO if STREAM_FAILED in said else None)
    names = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
    ours = any(name.is_relative_to(temporary) or path.is_relative_to(name) for name in names)
    code = errno.ENOTDIR if error.errno == errno.EEXIST else error.errno  # a file is where a folder has to be
    concerns = (code in FAILED and (ours or not names)) or (code in CLOSED | MISPLACED and ours)
    return code if concerns else None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Tell if ``path`` is a file; False also for a name that is too long for the file system, as a labels file may hold."""
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``folder``, which becomes ``folder`` only when the block ends without an error."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")  # another process may make the same folder
    shutil.rmtree(temporary, ignore_errors=True)  # of a process of the same number that was killed
    try:
        with _writing(folder, temporary):
            temporary.mkdir(parents=True)
            yield temporary
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
