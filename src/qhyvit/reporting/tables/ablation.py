"""Each step of the search against the step before it, image by image."""

from itertools import pairwise

from qhyvit.reporting.captions import run_note
from qhyvit.reporting.correctness import read_correct
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.gains import gains, gains_shown
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from correct.csv."""
    pairs = [(step, before) for before, step in pairwise(sources.methods.steps)]
    rows = gains(read_correct(sources.one("correct")), pairs, sources.methods)
    return Table(rows, gains_shown(rows), run_note(rows))
