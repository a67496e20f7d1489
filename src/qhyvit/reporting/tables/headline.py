"""The two methods whose gains the tables report: the paper's, and the one with cross-validated ranges."""

from collections.abc import Iterable

PAPER_METHOD = "qhyvit"
HEADLINE = (PAPER_METHOD, "qhyvit-cv")


def headline_note(methods: Iterable[str]) -> str:
    """Return a note for a run whose ``methods`` lack the paper's."""
    ran = set(methods)
    if PAPER_METHOD in ran:
        return ""
    others = [name for name in HEADLINE if name in ran]
    gains = f": gains are those of `{others[0]}`" if others else ""
    return f"This run has no `{PAPER_METHOD}`, the paper's method{gains}."
