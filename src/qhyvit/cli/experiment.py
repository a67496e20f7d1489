"""Experiment of a command."""

from pathlib import Path

from qhyvit.config.loading import Config, load_config
from qhyvit.errors import InputError


def load_experiment(config: Path, model: str, method: str | None = None) -> Config:
    """Read the experiment ``config``. Raises InputError for a ``model`` or a ``method`` that it does not have."""
    settings = load_config(config)
    for kind, name, known in (("model", model, settings.models), ("method", method, settings.methods)):
        if name is not None and name not in known:
            raise InputError(f"{config}: the experiment has no {kind} {name!r}, only {', '.join(known)}; choose one or add it")
    return settings
