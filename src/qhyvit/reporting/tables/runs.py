"""Origin of each quantized network: the commits and hashes that its result records."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from the outputs of `qhyvit evaluate`."""
    rows = origins(sources.all("quantized"))
    return Table(rows, rows)


def origins(results: list[Path]) -> pd.DataFrame:
    """Return one row per result of a quantized network: the run, and the origin of its quantizers. Hashes are sha256."""
    return pd.DataFrame([_row(json.loads(path.read_text())) for path in results])


def _row(result: dict[str, Any]) -> dict[str, Any]:
    record = result["provenance"]
    calibrated, settings = record["calibrated"], record["settings"]
    return {
        "model": result["model"],
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
