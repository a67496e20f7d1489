"""Step `provenance`: what the report rests on."""

from pathlib import Path

from qhyvit.config import Config
from qhyvit.files import written_whole
from qhyvit.reporting.provenance_tables import configuration_table, provenance_table


def provenance(config: Config, quantized: list[Path], configuration: Path, runs: Path) -> None:
    """Write the settings and software to ``configuration``, and where each ``quantized`` network comes from to ``runs`` (CSV)."""
    with written_whole(configuration) as path:
        configuration_table(config).to_csv(path, index=False)
    with written_whole(runs) as path:
        provenance_table(quantized).to_csv(path, index=False)
