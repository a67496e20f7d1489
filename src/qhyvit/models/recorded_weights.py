"""Weights, and images of a calibration, are those whose hash was recorded: when they were fetched, and when they were used."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qhyvit.config.loading import Config, read_yaml
from qhyvit.errors import InputError
from qhyvit.files import file_sha256
from qhyvit.own_files import require_regular, written_by
from qhyvit.provenance import Provenance

SHOWN = 12  # digits of a hash in a message
PINS: TypeAdapter[dict[str, str] | None] = TypeAdapter(dict[str, str] | None)


def require_pinned(config: Config, model: str) -> None:
    """Raise InputError if the weights of ``model`` are not those that `qhyvit fetch weights` pinned; weights without a pin pass."""
    path, lock = config.weights_path(model), config.experiment.weights_lock
    recorded = read_pins(lock).get(str(config.configured_weights(model)))
    _require(path, recorded, f"{lock} recorded it; restore the file or delete its line there")


def read_pins(lock: Path) -> dict[str, str]:
    """Return the hashes of weights in the file ``lock`` by path, none if it is not there. Raises InputError for any other file."""
    require_regular(lock)
    return (read_yaml(lock, PINS) if lock.exists() else None) or {}


def require_calibrated(config: Config, model: str, calibrated: Provenance, source: Path, images: Path | None) -> None:
    """Raise InputError if the calibration with the record ``calibrated``, from ``source``, is not one of this experiment.

    It is one of the weights of ``model``, of the manifest ``images`` unless that is None, and has the same preprocessing and batches.
    What the API writes has no record.
    """
    if not calibrated:
        return
    inputs, settings, experiment = calibrated.get("inputs", {}), calibrated.get("settings", {}), config.experiment
    _require(
        config.weights_path(model), inputs.get("weights"), f"{source} was made from it; restore the file, or calibrate and quantize again"
    )
    made_from = [settings.get("preprocessing"), settings.get("batch_size")]
    stated: list[Any] = [experiment.dataset.preprocessing, experiment.calibration.batch_size]
    if images is not None:
        with written_by(images, "`qhyvit fetch images`"):
            made_from, stated = [inputs.get("images"), *made_from], [file_sha256(images), *stated]
    if made_from != stated:
        manifest = "with" if images is None else f"from another manifest than {images}, or with"
        raise InputError(f"{source}: made {manifest} other preprocessing or batches; calibrate and quantize again")


def _require(path: Path, recorded: str | None, since: str) -> None:
    if recorded is None or not path.is_file():  # a missing file is named when it is loaded
        return
    found = file_sha256(path)
    if found != recorded:
        raise InputError(f"{path}: sha256 {found[:SHOWN]}... is not {recorded[:SHOWN]}...: it has changed since {since}")
