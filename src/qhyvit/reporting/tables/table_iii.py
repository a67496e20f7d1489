"""Full quantization next to Table III of the paper, and to HyQ's comparison."""

import pandas as pd

from qhyvit.reporting.published import read_cells
from qhyvit.reporting.runs import CELL
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.comparison import comparison_table, whole_methods
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from results.csv, the published table, and HyQ's for the cells that it has not."""
    published = pd.concat([read_cells(sources.one(f"published/{name}")) for name in ("table_iii", "hyq")])
    return comparison_table(sources, published.drop_duplicates(CELL), "full", whole_methods(sources.methods))
