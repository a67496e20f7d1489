"""Step `seeds`: how much a result changes with its seed."""

from pathlib import Path

from qhyvit.files import written_whole
from qhyvit.reporting.results import read_results
from qhyvit.reporting.seeds import CAPTION, ONE_SEED, seed_spread, seed_spread_shown
from qhyvit.reporting.tables import to_markdown


def seeds(results: Path, table: Path, markdown: Path) -> None:
    """Write the spread of top-1 over the seeds in results.csv to ``table`` (CSV) and ``markdown``; for one seed, nothing but a header."""
    rows = seed_spread(read_results(results))
    with written_whole(table) as path:
        rows.to_csv(path, index=False, float_format="%.6g")
    with written_whole(markdown) as path:
        path.write_text(f"{to_markdown(seed_spread_shown(rows))}\n{ONE_SEED if rows.empty else CAPTION}\n")
