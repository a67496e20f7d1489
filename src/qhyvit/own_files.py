"""Reading of files that only this project writes."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from yaml import YAMLError

from qhyvit.errors import InputError

# Errors by which a file shows that it is another one; the last two are of nested JSON and of numbers that are too large.
FAULTS = (OSError, SafetensorError, csv.Error, YAMLError, AttributeError, LookupError, TypeError, ValueError, RecursionError, OverflowError)


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


def require(holds: bool, what: str) -> None:
    """Raise ValueError, as a file of another kind does, unless something that is so in all files of a kind ``holds``."""
    if not holds:
        raise ValueError(what)


def read_header(file: safe_open) -> dict[str, Any]:
    """Return the header that the project has written into a file of tensors. Raises an error of FAULTS if it has not."""
    metadata = file.metadata()
    require(bool(metadata), "it has no header")
    header = json.loads(metadata["header"])
    require(isinstance(header, dict), "its header is no JSON object")
    if "provenance" in header:
        _check_record(header["provenance"])
    return header


def _check_record(record: Any) -> None:
    """Raise ValueError unless a provenance, and that of the calibration in it, is of the form that `provenance` gives it."""
    require(isinstance(record, dict) and isinstance(record.get("settings", {}), dict), "its provenance is no JSON object")
    inputs = record.get("inputs", {})
    require(isinstance(inputs, dict) and all(isinstance(value, str) for value in inputs.values()), "it has no hashes of its inputs")
    if "calibrated" in record:
        _check_record(record["calibrated"])


def said_by(error: Exception) -> str:
    """Return the kind and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
