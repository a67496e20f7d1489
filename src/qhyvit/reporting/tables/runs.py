"""Origin of each quantized network: the commits and hashes that its file records."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from the outputs of `qhyvit quantize`."""
    rows = origins(sources.all("quantized"))
    return Table(rows, rows)


def origins(quantized: list[Path]) -> pd.DataFrame:
    """Return one row per file in ``quantized``, named as in the workflow: the run, and the origin in its header. Hashes are sha256."""
    return pd.DataFrame([_row(path) for path in quantized])


def _row(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="np") as file:
        record = json.loads(file.metadata()["header"])["provenance"]
    calibrated, settings = record["calibrated"], record["settings"]
    return {
        "model": path.parent.parent.name,
        "seed": calibrated["settings"]["seed"],
        **{name: settings[name] for name in ("method", "mode", "bits")},
        "package": record["package"],
        "commit": record["commit"],
        "calibrated_at_commit": calibrated["commit"],
        "calibrated_on": calibrated["device"],
        "torch": record["torch"],
        "processor": record["processor"],
        "threads": record["threads"],
        "settings_sha256": record["settings_sha256"],
        "calibration_sha256": record["inputs"]["calibration"],
        "weights_sha256": calibrated["inputs"]["weights"],
        "images_sha256": calibrated["inputs"]["images"],
    }
