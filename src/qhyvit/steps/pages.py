"""Step `pages`: the tables of the HTML report."""

from pathlib import Path

import pandas as pd

from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.reporting.html import page


def pages(tables: list[Path], titles: list[str], captions: list[str], outputs: list[Path]) -> None:
    """Write each CSV file of ``tables`` as an HTML page that sorts and filters, cell by cell as the file has them.

    Raises InputError unless each table has a title, a caption and an output.
    """
    counts = {"tables": len(tables), "--title": len(titles), "--caption": len(captions), "--output": len(outputs)}
    if len(set(counts.values())) > 1:
        raise InputError(f"{', '.join(f'{count} {name}' for name, count in counts.items())}; give one of each for every table")
    for table, title, caption, output in zip(tables, titles, captions, outputs, strict=True):
        with atomic_write(output) as path:
            path.write_text(page(pd.read_csv(table, dtype=str, keep_default_na=False), title, caption), encoding="utf-8")
