"""Inputs of `qhyvit table` and `qhyvit figure`, by kind."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.entries import Entry
from qhyvit.reporting.sources import Sources

E = TypeVar("E", bound=Entry)
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="KIND=PATH",
        help="File of a kind that the table or figure needs, for example results=reports/results.csv; repeatable.",
    ),
]


def find_entry(entries: Mapping[str, E], kind: str, name: str) -> E:
    """Return the entry of ``name``. Raises InputError for an unknown name."""
    if name not in entries:
        raise InputError(f"unknown {kind} {name!r}; choose one of {', '.join(entries)}")
    return entries[name]


def read_sources(config: Path, inputs: list[str] | None, mode: str = "", title: str = "") -> Sources:
    """Return the inputs of a table or figure of the experiment ``config``. Raises InputError for an input that is not KIND=PATH."""
    settings = load_config(config, allow_unset_env=True)
    paths: dict[str, list[Path]] = defaultdict(list)
    for text in inputs or []:
        kind, separator, path = text.partition("=")
        if not separator:
            raise InputError(f"--input {text}: not of the form KIND=PATH; put the kind of the file before it")
        paths[kind].append(Path(path))
    return Sources(read_catalog(settings.experiment.methods_file), paths, mode, title, settings)
