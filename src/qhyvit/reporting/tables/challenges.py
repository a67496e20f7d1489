"""Ranges and zero-point overflow of the activations of all networks."""

from pathlib import Path

import pandas as pd

from qhyvit.errors import InputError
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table

KEY = {"model", "site", "operand"}


def make(sources: Sources) -> Table:
    """Make the table from the activations of each network, outputs of `qhyvit challenges`. Raises InputError for any other file."""
    rows = pd.concat([_read(path) for path in sources.all("activations")])
    return Table(rows, rows)


def _read(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if not set(table) >= KEY:
        raise InputError(f"{path}: not written by `qhyvit challenges`; give a file that is")
    return table
