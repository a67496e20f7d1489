"""What a report rests on, as tables: the settings and software, and for each quantized network the commit and hashes that made it."""

import json
import platform
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pandas as pd
from packaging.requirements import Requirement
from pydantic import BaseModel
from safetensors import safe_open

from qhyvit.config.loading import Config


def configuration_table(config: Config) -> pd.DataFrame:
    """A row a setting of the experiment, its models and methods, and a row a package that the project requires: part, name, key, value."""
    parts: list[tuple[str, str, dict[str, Any]]] = [("experiment", "", config.experiment.model_dump(mode="json", exclude={"training"}))]
    parts += [("model", name, _settings(model)) for name, model in config.models.items()]
    parts += [("method", name, _settings(method)) for name, method in config.methods.items()]
    parts += [("software", name, {"version": found}) for name, found in _software().items()]
    rows = [(part, name, key, _text(value)) for part, name, values in parts for key, value in _flat(values).items()]
    return pd.DataFrame(rows, columns=["part", "name", "key", "value"])


def provenance_table(quantized: list[Path]) -> pd.DataFrame:
    """A row for each file of `qhyvit quantize` in ``quantized``, named as in the workflow: the run, and what its header says it came from.

    Hashes are sha256.
    """
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
        "settings_sha256": record["settings_sha256"],
        "calibration_sha256": record["inputs"]["calibration"],
        "weights_sha256": calibrated["inputs"]["weights"],
        "images_sha256": calibrated["inputs"]["images"],
    }


def _software() -> dict[str, str]:
    required = [Requirement(text) for text in requires("qhyvit") or []]
    names = sorted(requirement.name for requirement in required if requirement.marker is None)  # those of an extra have a marker
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _settings(part: BaseModel) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude_none=True)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Nested keys joined by dots."""
    return {str(key): value for key, value in pd.json_normalize(values).astype(object).iloc[0].items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
