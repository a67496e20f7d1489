"""Reading of files that only this project writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from qhyvit.errors import InputError

FAULTS = (OSError, SafetensorError, AttributeError, LookupError, TypeError, ValueError)  # by which a file shows that it is another one


@contextmanager
def written_by(path: Path, writer: str) -> Iterator[None]:
    """Raise InputError for all errors in the block by which ``path`` shows that ``writer`` has not written it."""
    try:
        yield
    except InputError:
        raise
    except FAULTS as error:
        raise InputError(f"{path}: not written by {writer} ({said_by(error)}); give a file that is") from error


def said_by(error: Exception) -> str:
    """Return the kind and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
