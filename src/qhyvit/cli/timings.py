"""Command `timings`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.published import read_means
from qhyvit.reporting.runs import read_results
from qhyvit.reporting.tables import running_time as reporting
from qhyvit.reporting.tables.accuracy import to_markdown

NAME = "running_time"


def timings(
    results: options.Results,
    benchmarks: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files of the data set.")],
    paper: options.Published,
    output: Annotated[Path, typer.Option(help="Folder for the tables.")],
) -> None:
    """Show the running time of each method next to the published means."""
    seconds = reporting.timings(read_results(results), benchmarks)
    table = reporting.running_time(seconds, read_means(paper / "fig_9.csv"))
    shown = reporting.running_time_shown(table)
    with atomic_write(output / "timings.csv") as path:
        seconds.to_csv(path, index=False, float_format="%.2f")
    with atomic_write(output / f"{NAME}.csv") as path:
        table.to_csv(path, index=False, float_format="%.2f")
    with atomic_write(output / f"{NAME}.md") as path:
        path.write_text(f"{to_markdown(shown)}\n{reporting.CAPTION}\n")
    with atomic_write(output / f"{NAME}.tex") as path:
        latex = shown.to_latex(index=False, escape=True, longtable=True, caption=reporting.CAPTION, label=f"tab:{NAME}")
        path.write_text(latex)
