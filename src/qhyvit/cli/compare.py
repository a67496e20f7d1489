"""Command `compare`."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.published import published, read_means
from qhyvit.reporting.runs import read_results
from qhyvit.reporting.tables import comparison, improvement
from qhyvit.reporting.tables.accuracy import to_markdown


def compare(
    results: options.Results,
    paper: options.Published,
    output: Annotated[Path, typer.Option(help="Folder for the tables, each as CSV, Markdown and LaTeX.")],
) -> None:
    """Compare the results with the published ones: Tables II to IV, and the mean improvement over each baseline."""
    measured = read_results(results)
    cells = {name: published(paper, name) for name in comparison.TABLES}
    stated = read_means(paper / "improvements.csv")
    for name, table in comparison.TABLES.items():
        rows = comparison.comparison(measured, table, cells[name])
        _write(output, name, rows, comparison.comparison_shown(rows), comparison.caption(table, rows))
    rows = improvement.improvement(measured, pd.concat([cells["table_ii"], cells["table_iii"]]), stated)
    _write(output, "improvement", rows, improvement.improvement_shown(rows), improvement.CAPTION)


def _write(folder: Path, name: str, rows: pd.DataFrame, shown: pd.DataFrame, caption: str) -> None:
    """Numbers as CSV; what people read, with its caption, as Markdown and LaTeX."""
    with atomic_write(folder / f"{name}.csv") as path:
        rows.to_csv(path, index=False, float_format="%.6g")
    with atomic_write(folder / f"{name}.md") as path:
        path.write_text(f"{to_markdown(shown)}\n{caption}\n")
    with atomic_write(folder / f"{name}.tex") as path:
        path.write_text(shown.to_latex(index=False, escape=True, longtable=True, caption=caption, label=f"tab:{name}"))
