"""Packages of the extra `deploy`, imported where they are needed."""

from importlib import import_module
from typing import Any

from qhyvit.errors import InputError


def import_extra(name: str) -> Any:
    """Import a module of an inference engine. Raises InputError if it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name}: not installed; run `pip install 'qhyvit[deploy]'`, or `make` in a clone") from error
