"""Step `provenance`: what the report rests on."""

from pathlib import Path

from qhyvit.config import Config
from qhyvit.files import atomic_write
from qhyvit.reporting.tables.provenance import configuration_table, provenance_table


def provenance(config: Config, quantized: list[Path], configuration: Path, runs: Path) -> None:
    """Write the settings and software to ``configuration``, and where each ``quantized`` network comes from to ``runs`` (CSV)."""
    with atomic_write(configuration) as path:
        configuration_table(config).to_csv(path, index=False)
    with atomic_write(runs) as path:
        provenance_table(quantized).to_csv(path, index=False)
