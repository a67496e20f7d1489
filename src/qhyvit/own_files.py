"""Checks of input files, and reading of those that only this project writes."""

import csv
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def written_by(path: Path, writer: str) -> Iterator[None]:
    """Raise InputError for a ``path`` that is no regular file, and for errors in the block that show another writer."""
    require_regular(path)
    with of_another_kind(lambda said: f"{path}: not written by {writer} ({said}); give a file that is"):
        yield


def require_regular(path: Path) -> None:
    """Raise InputError for an input that is there and no regular file: reading a pipe may wait forever. A missing file passes."""
    if said := irregular(path):
        raise InputError(f"{path}: is {said}; give a regular file")


def irregular(path: Path) -> str:
    """Say what ``path`` is instead of a regular file; "" if it is one, or is missing."""
    try:
        mode = path.stat().st_mode
    except ValueError:  # a name that no file can have
        return ""
    except OSError as error:
        return f"a link that leads to no file ({error.strerror})" if os.path.lexists(path) else ""
    if stat.S_ISDIR(mode):
        return "no file, but an empty path or the current folder" if path == Path() else "a folder, no file"
    return "" if stat.S_ISREG(mode) else "no regular file, but a pipe, a device or a socket"


def require(holds: bool, what: str) -> None:
    """Raise ValueError with the message ``what`` unless ``holds``; `written_by` turns it into an InputError."""
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
