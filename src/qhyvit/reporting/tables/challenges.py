"""Ranges and zero-point overflow of the activations of all networks."""

import pandas as pd

from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from the activations of each network, outputs of `qhyvit challenges`."""
    rows = pd.concat([pd.read_csv(path) for path in sources.all("activations")])
    return Table(rows, rows)
