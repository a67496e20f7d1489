"""Step `aggregate-challenges`: challenges.csv and its table."""

import json
from pathlib import Path

import pandas as pd

from qhyvit.files import written_whole
from qhyvit.reporting.challenge_tables import challenge_table
from qhyvit.reporting.tables import to_markdown


def aggregate_challenges(activations: list[Path], summaries: list[Path], output: Path, table: Path, markdown: Path) -> None:
    """Write all ``activations`` (CSV files) to ``output`` (CSV), and a row for each of ``summaries`` to ``table`` and ``markdown``."""
    gathered = pd.concat([pd.read_csv(path) for path in activations])
    with written_whole(output) as path:
        gathered.to_csv(path, index=False, float_format="%.6g")
    networks = challenge_table(gathered, [json.loads(path.read_text()) for path in summaries])
    with written_whole(table) as path:
        networks.to_csv(path, index=False)
    with written_whole(markdown) as path:
        path.write_text(to_markdown(networks))
