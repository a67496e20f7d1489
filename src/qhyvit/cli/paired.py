"""Commands `paired` and `ablation`: methods against each other, image by image."""

from pathlib import Path

import pandas as pd

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.correctness import read_hits
from qhyvit.reporting.tables.accuracy import to_markdown
from qhyvit.reporting.tables.paired import ABLATION_CAPTION, CAPTION, METHOD, ablation, paired, paired_shown


def compare_in_pairs(hits: options.Correct, table: options.Table, markdown: options.Markdown) -> None:
    """Show the gain of Q-HyViT over every other method, tested on the same images."""
    _write(paired(read_hits(hits)), CAPTION, f"This run has no {METHOD} beside another method.", table, markdown)


def compare_steps(hits: options.Correct, table: options.Table, markdown: options.Markdown) -> None:
    """Show the gain of each step of Q-HyViT's search over the step before, tested on the same images."""
    _write(ablation(read_hits(hits)), ABLATION_CAPTION, f"This run has no two steps of {METHOD} that follow each other.", table, markdown)


def _write(rows: pd.DataFrame, caption: str, none: str, table: Path, markdown: Path) -> None:
    with atomic_write(table) as path:
        rows.to_csv(path, index=False, float_format="%.6g")
    with atomic_write(markdown) as path:
        shown = f"{to_markdown(paired_shown(rows))}\n{caption}" if len(rows) else none
        path.write_text(f"{shown}\n")
