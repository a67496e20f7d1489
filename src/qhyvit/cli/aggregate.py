"""Command `aggregate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.correctness import hits_table
from qhyvit.reporting.runs import metrics_tree, results_table, write_results
from qhyvit.reporting.tables.accuracy import accuracy_table, to_markdown


def aggregate(
    results: Annotated[list[Path], typer.Argument(help="Files written by `qhyvit evaluate`.")],
    images: options.Images,
    output: Annotated[Path, typer.Option(help="CSV file for all results.")],
    hits: Annotated[Path, typer.Option(help="CSV file for the correct predictions of each run, image by image.")],
    metrics: Annotated[Path, typer.Option(help="JSON file for `dvc metrics diff`.")],
    table: Annotated[Path, typer.Option(help="CSV file for the table of accuracies.")],
    markdown: options.Markdown,
) -> None:
    """Gather all results with their intervals into one table."""
    gathered = results_table(results)
    with atomic_write(output) as path:
        write_results(gathered, path)
    with atomic_write(hits) as path:
        hits_table(results, images).to_csv(path, index=False)
    with atomic_write(metrics) as path:
        path.write_text(json.dumps(metrics_tree(gathered), indent=2, sort_keys=True) + "\n")
    accuracy = accuracy_table(gathered)
    with atomic_write(table) as path:
        accuracy.to_csv(path, index=False)
    with atomic_write(markdown) as path:
        path.write_text(to_markdown(accuracy))
