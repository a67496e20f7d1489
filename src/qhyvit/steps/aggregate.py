"""Step `aggregate`: results.csv, hits.csv, metrics.json and the tables."""

import json
from pathlib import Path

from qhyvit.files import atomic_write
from qhyvit.reporting.correctness import hits_table
from qhyvit.reporting.runs import metrics_tree, results_table, write_results
from qhyvit.reporting.tables.accuracy import accuracy_table, to_markdown


def aggregate(results: list[Path], images: Path, output: Path, hits: Path, metrics: Path, table: Path, markdown: Path) -> None:
    """Write all ``results`` (JSON files) to ``output`` and ``hits`` (CSV), ``metrics`` (JSON), ``table`` (CSV) and ``markdown``.

    ``images`` is the manifest of the images that they are of.
    """
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
