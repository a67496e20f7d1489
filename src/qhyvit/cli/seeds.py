"""Command `seeds`."""

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.runs import read_results
from qhyvit.reporting.tables.accuracy import to_markdown
from qhyvit.reporting.tables.seeds import CAPTION, ONE_SEED, seed_spread, seed_spread_shown


def seeds(results: options.Results, table: options.Table, markdown: options.Markdown) -> None:
    """Show the spread of each result over the seeds."""
    rows = seed_spread(read_results(results))
    with atomic_write(table) as path:
        rows.to_csv(path, index=False, float_format="%.6g")
    with atomic_write(markdown) as path:
        path.write_text(f"{to_markdown(seed_spread_shown(rows))}\n{ONE_SEED if rows.empty else CAPTION}\n")
