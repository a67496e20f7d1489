"""Task of quantizing a model of an experiment with one method."""

from pathlib import Path

from torch import Tensor

from qhyvit.calibration.serialization import CALIBRATE, load_output_statistics, load_statistics
from qhyvit.config.base import parse_bits
from qhyvit.config.loading import Config
from qhyvit.data.calibration_set import calibration_entries, load_batches, load_images
from qhyvit.data.manifest import read_manifest
from qhyvit.errors import InputError
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.models.loading import load_model
from qhyvit.models.recorded_weights import require_calibrated
from qhyvit.own_files import require, written_by
from qhyvit.provenance import Provenance


def load_task(config: Config, model: str, method: str, bits: str, images: Path, calibration: Path) -> tuple[Task, Provenance]:
    """Return the task, from the statistics in the file ``calibration``, and the provenance of that file.

    A method that needs more than the calibration recorded runs the same images, of the manifest ``images``, again. Raises InputError for
    the calibration of another model or of other weights, and for one of another manifest or with other preprocessing or batches.
    """
    weight_bits, activation_bits = parse_bits(bits)
    statistics, calibrated = load_statistics(calibration)
    require_calibrated(config, model, calibrated, calibration, images)
    with written_by(calibration, CALIBRATE):
        seed, drawn, positions = (calibrated["settings"][name] for name in ("seed", "images", "sampled_positions"))
        require(type(seed) is int and isinstance(drawn, list), "it has no seed or images")
        require(positions is None or type(positions) is int, "it has no number of positions")
    experiment = config.experiment
    loaded = load_model(config, model)
    if statistics.keys() != {site.name for site in loaded.traced.sites}:
        raise InputError(f"{calibration}: its sites are not those of {model}; give the calibration of this model")

    def read_batches() -> list[Tensor]:
        entries = calibration_entries(experiment, images, seed, len(drawn))
        return load_batches(experiment, entries, loaded.transform)

    def read_more(count: int) -> Tensor:
        there = len(read_manifest(experiment.dataset, images, "calibration"))
        return load_images(calibration_entries(experiment, images, seed, min(count, there)), loaded.transform)

    source = CalibrationImages(read_batches, positions, seed, read_more)
    outputs = load_output_statistics(calibration)
    return Task(loaded.traced, statistics, outputs, source, config.methods[method], weight_bits, activation_bits), calibrated
