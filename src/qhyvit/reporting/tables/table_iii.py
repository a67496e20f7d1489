"""Full quantization next to Table III of the paper."""

from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.comparison import comparison_table, whole_methods
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from results.csv and the published table."""
    return comparison_table(sources, "table_iii", "full", whole_methods(sources.methods))
