"""Results of an experiment in three files: results.csv, correct.csv and metrics.json."""

import json
from pathlib import Path

from qhyvit.files import atomic_write
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.consistency import check_consistent
from qhyvit.reporting.correctness import correct_table
from qhyvit.reporting.runs import metrics_tree, read_result, tabulate, write_results


def aggregate(results: list[Path], images: Path, methods: MethodCatalog, output: Path) -> None:
    """Write the ``results`` (JSON files of `qhyvit evaluate`) to the folder ``output``; ``images`` is the manifest of their images.

    Raises InputError for other files, for results that contradict each other or the manifest, and if the FP32 result of a model is missing.
    """
    read = [read_result(path) for path in results]
    gathered, correct = tabulate(read, methods), correct_table(read, images, methods)
    check_consistent(results, read, images)
    metrics = json.dumps(metrics_tree(gathered), indent=2, sort_keys=True) + "\n"
    with atomic_write(output / "results.csv") as path:
        write_results(gathered, path)
    with atomic_write(output / "correct.csv") as path:
        correct.to_csv(path, index=False)
    with atomic_write(output / "metrics.json") as path:
        path.write_text(metrics)
