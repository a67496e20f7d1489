"""Reading of files that only this project writes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from safetensors import SafetensorError

from qhyvit.errors import InputError

FAULTS = (OSError, SafetensorError, AttributeError, LookupError, TypeError, ValueError)  # by which a file shows that it is another one


@contextmanager
def of_another_kind(describe: Callable[[str], str]) -> Iterator[None]:
    """Raise InputError for all errors in the block by which a file shows that it is another one.

    ``describe`` makes the message from what the error says.
    """
    try:
        yield
    except InputError:
        raise
    except FAULTS as error:
        raise InputError(describe(said_by(error))) from error


def written_by(path: Path, writer: str) -> AbstractContextManager[None]:
    """Raise InputError for all errors in the block by which ``path`` shows that ``writer`` has not written it."""
    return of_another_kind(lambda said: f"{path}: not written by {writer} ({said}); give a file that is")


def said_by(error: Exception) -> str:
    """Return the kind and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
