"""Partial quantization next to Table II of the paper."""

from qhyvit.reporting.published import read_cells
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.comparison import comparison_table, whole_methods
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from results.csv and the published table; steps of the ablation that are no whole method are in Table IV."""
    return comparison_table(sources, read_cells(sources.one("published/table_ii")), "partial", whole_methods(sources.methods))
