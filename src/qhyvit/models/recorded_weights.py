"""Weights are those whose hash was recorded: when they were fetched, and when a calibration was made from them."""

from pathlib import Path

import yaml

from qhyvit.config.loading import Config
from qhyvit.errors import InputError
from qhyvit.files import file_sha256
from qhyvit.provenance import Provenance

SHOWN = 12  # digits of a hash in a message


def require_pinned(config: Config, model: str) -> None:
    """Raise InputError if the weights of ``model`` are not those that `qhyvit fetch weights` pinned; weights without a pin pass."""
    path, lock = config.weights_path(model), config.experiment.weights_lock
    pins = yaml.safe_load(lock.read_text()) if lock.exists() else {}
    _require(
        path, (pins or {}).get(str(config.configured_weights(model))), f"{lock} recorded it; restore the file or delete its line there"
    )


def require_calibrated(config: Config, model: str, calibrated: Provenance, source: Path) -> None:
    """Raise InputError if the weights of ``model`` are not those of the calibration with the record ``calibrated``, from ``source``."""
    recorded = calibrated.get("inputs", {}).get("weights")
    _require(config.weights_path(model), recorded, f"{source} was made from it; restore the file, or calibrate and quantize again")


def _require(path: Path, recorded: str | None, since: str) -> None:
    if recorded is None or not path.is_file():  # a missing file is named when it is loaded
        return
    found = file_sha256(path)
    if found != recorded:
        raise InputError(f"{path}: sha256 {found[:SHOWN]}... is not {recorded[:SHOWN]}...: it has changed since {since}")
