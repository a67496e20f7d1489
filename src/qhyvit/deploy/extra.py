"""Packages of the extra `deploy`, imported where they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from qhyvit.errors import FULL, InputError, first_words


def import_extra(name: str) -> Any:
    """Import a module of an inference engine. Raises InputError if it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name}: not installed; run `pip install 'qhyvit[deploy]'`, or `make` in a clone") from error


@contextmanager
def convertible(name: str) -> Iterator[None]:
    """Raise InputError if the block, which converts a network to the format ``name``, meets an operator that has no form there."""
    try:
        yield
    except Exception as error:  # of any kind: each converter has several
        if isinstance(error, OSError) and error.errno in FULL:  # converters write temporary files
            raise
        raise InputError(
            f"the network has no form in {name} ({first_words(error)}); replace the operator, or choose another format"
        ) from error
