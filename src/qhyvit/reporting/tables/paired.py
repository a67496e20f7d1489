"""Methods of the headline against every other method, image by image."""

from collections.abc import Collection

from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.correctness import read_correct
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.gains import gains, gains_shown
from qhyvit.reporting.tables.headline import HEADLINE, headline_note
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from correct.csv."""
    correct = read_correct(sources.one("correct"))
    rows = gains(correct, headline_pairs(set(correct.method), sources.methods), sources.methods)
    return Table(rows, gains_shown(rows), f"{headline_note(correct.method)} {run_note(rows)}".strip())


def headline_pairs(ran: Collection[str], methods: MethodCatalog) -> list[tuple[str, str]]:
    """Return pairs of a method of the headline and each other method that ``ran``, where one of the headline is over an earlier one."""
    order = [*(name for name in methods.order(ran) if name not in (FP32, *HEADLINE)), *HEADLINE]
    return [(name, other) for name in HEADLINE for other in order[: order.index(name)] if {name, other} <= set(ran)]
