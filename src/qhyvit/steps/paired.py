"""Step `paired`: Q-HyViT against every other method, image by image."""

from pathlib import Path

from qhyvit.files import written_whole
from qhyvit.reporting.hits import read_hits
from qhyvit.reporting.paired import CAPTION, METHOD, paired, paired_shown
from qhyvit.reporting.tables import to_markdown


def compare_in_pairs(hits: Path, table: Path, markdown: Path) -> None:
    """Write the gains over every other method, from hits.csv, to ``table`` (CSV) and ``markdown``; nothing but a header without any."""
    rows = paired(read_hits(hits))
    with written_whole(table) as path:
        rows.to_csv(path, index=False, float_format="%.6g")
    with written_whole(markdown) as path:
        shown = f"{to_markdown(paired_shown(rows))}\n{CAPTION}" if len(rows) else f"This run has no {METHOD} beside another method."
        path.write_text(f"{shown}\n")
