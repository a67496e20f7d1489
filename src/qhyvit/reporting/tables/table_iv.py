"""Ablation next to Table IV of the paper."""

from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.comparison import comparison_table
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from results.csv and the published one, whose last cell is one of Table II: it shares that table's FP32 accuracies."""
    return comparison_table(sources, "table_iv", "partial", sources.methods.steps, fp32="table_ii")
