"""Reports folder of an experiment, to which no other experiment may write."""

from pathlib import Path

from qhyvit.config.loading import Config
from qhyvit.errors import InputError
from qhyvit.files import atomic_write

MARKER = "experiment.txt"


def claim_reports_folder(config: Config, path: Path) -> None:
    """Write into the reports folder of ``config`` that it belongs to the configuration file ``path``.

    Raises InputError if it belongs to another file.
    """
    reports = config.experiment.reports
    marker = reports / MARKER
    owner = marker.read_text(encoding="utf-8", errors="replace").strip() if marker.exists() else None
    if owner not in (None, str(path)):
        raise InputError(
            f"{reports}: has the reports of {owner}, which {path} would overwrite; remove `reports` from {path} or state another folder"
            f" there; if {path} is {owner} under a new name, delete {marker}"
        )
    if owner is None:
        with atomic_write(marker) as temporary:
            temporary.write_text(f"{path}\n")
