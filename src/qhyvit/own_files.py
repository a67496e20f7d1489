"""Reading of files that only this project writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from qhyvit.errors import InputError


@contextmanager
def written_by(path: Path, writer: str) -> Iterator[None]:
    """Raise InputError for all errors in the block by which ``path`` shows that ``writer`` has not written it."""
    try:
        yield
    except InputError:
        raise
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not written by {writer} ({said}); give a file that is") from error
