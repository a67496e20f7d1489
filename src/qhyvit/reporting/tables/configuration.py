"""Settings and software of an experiment."""

import json
import platform
from importlib.metadata import requires, version
from typing import Any

import pandas as pd
from packaging.requirements import Requirement
from pydantic import BaseModel

from qhyvit.config.loading import Config
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from the configuration. Raises InputError if there is none."""
    rows = configuration_table(sources.experiment())
    return Table(rows, rows)


def configuration_table(config: Config) -> pd.DataFrame:
    """Return columns part, name, key, value: one row per setting of the experiment, its models and methods, and per required package."""
    parts: list[tuple[str, str, dict[str, Any]]] = [("experiment", "", config.experiment.model_dump(mode="json", exclude={"training"}))]
    parts += [("model", name, _settings(model)) for name, model in config.models.items()]
    parts += [("method", name, _settings(method)) for name, method in config.methods.items()]
    parts += [("software", name, {"version": installed}) for name, installed in software().items()]
    rows = [(part, name, key, _text(value)) for part, name, values in parts for key, value in _flat(values).items()]
    return pd.DataFrame(rows, columns=["part", "name", "key", "value"])


def software() -> dict[str, str]:
    """Return the versions of Python and of the required packages."""
    required = [Requirement(text) for text in requires("qhyvit") or []]
    names = sorted(requirement.name for requirement in required if requirement.marker is None)  # those of an extra have a marker
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _settings(part: BaseModel) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude_none=True)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Join nested keys by dots."""
    return {str(key): value for key, value in pd.json_normalize(values).astype(object).iloc[0].items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
