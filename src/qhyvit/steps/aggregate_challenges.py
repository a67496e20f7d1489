"""Step `aggregate-challenges`: challenges.csv and its table."""

import json
from pathlib import Path

import pandas as pd

from qhyvit.files import atomic_write
from qhyvit.reporting.tables.accuracy import to_markdown
from qhyvit.reporting.tables.challenges import challenge_table


def aggregate_challenges(activations: list[Path], summaries: list[Path], output: Path, table: Path, markdown: Path) -> None:
    """Write all ``activations`` (CSV files) to ``output`` (CSV), and a row for each of ``summaries`` to ``table`` and ``markdown``."""
    gathered = pd.concat([pd.read_csv(path) for path in activations])
    with atomic_write(output) as path:
        gathered.to_csv(path, index=False, float_format="%.6g")
    networks = challenge_table(gathered, [json.loads(path.read_text()) for path in summaries])
    with atomic_write(table) as path:
        networks.to_csv(path, index=False)
    with atomic_write(markdown) as path:
        path.write_text(to_markdown(networks))
