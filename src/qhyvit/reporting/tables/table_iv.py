"""Ablation next to Table IV of the paper."""

from qhyvit.reporting.published import read_cells
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.comparison import comparison_table
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from results.csv and the published one, whose last cell is one of Table II: it shares that table's FP32 accuracies."""
    published = read_cells(sources.one("published/table_iv"), fp32=sources.one("published/table_ii"))
    return comparison_table(sources, published, "partial", sources.methods.steps)
