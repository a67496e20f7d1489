"""Methods whose gains the tables report (the paper's, the one with cross-validated ranges, and the tuned ones), and its baselines."""

from collections.abc import Iterable

PAPER_METHOD = "qhyvit"
ABSTRACT = ("easyquant", "ptq4vit", "repqvit")  # the abstract's 17.73 and 29.75 are means over these (v3)
CLAIMED = (*ABSTRACT, PAPER_METHOD)  # methods of the paper's Table II
HEADLINE = (PAPER_METHOD, "qhyvit-cv", "qhyvit-integer-tuned", "qhyvit-tuned")


def headline_note(methods: Iterable[str]) -> str:
    """Return a note for a run whose ``methods`` lack the paper's."""
    ran = set(methods)
    if PAPER_METHOD in ran:
        return ""
    others = [name for name in HEADLINE if name in ran]
    gains = f": gains are those of `{'` and `'.join(others)}`" if others else ""
    return f"This run has no `{PAPER_METHOD}`, the paper's method{gains}."
