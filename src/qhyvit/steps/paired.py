"""Steps `paired` and `ablation`: methods against each other, image by image."""

from pathlib import Path

import pandas as pd

from qhyvit.files import atomic_write
from qhyvit.reporting.correctness import read_hits
from qhyvit.reporting.tables.accuracy import to_markdown
from qhyvit.reporting.tables.paired import ABLATION_CAPTION, CAPTION, METHOD, ablation, paired, paired_shown


def compare_in_pairs(hits: Path, table: Path, markdown: Path) -> None:
    """Write the gains of Q-HyViT over every other method, from hits.csv, to ``table`` (CSV) and ``markdown``; but a header without any."""
    _write(paired(read_hits(hits)), CAPTION, f"This run has no {METHOD} beside another method.", table, markdown)


def compare_steps(hits: Path, table: Path, markdown: Path) -> None:
    """Write in the same way the gains of each step of its search over the one before."""
    _write(ablation(read_hits(hits)), ABLATION_CAPTION, f"This run has no two steps of {METHOD} that follow each other.", table, markdown)


def _write(rows: pd.DataFrame, caption: str, none: str, table: Path, markdown: Path) -> None:
    with atomic_write(table) as path:
        rows.to_csv(path, index=False, float_format="%.6g")
    with atomic_write(markdown) as path:
        shown = f"{to_markdown(paired_shown(rows))}\n{caption}" if len(rows) else none
        path.write_text(f"{shown}\n")
