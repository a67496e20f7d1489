"""Step `fetch`: images and weights, pulled where DVC tracks them, and checked."""

import json
from pathlib import Path

from qhyvit.config import Config
from qhyvit.data import cifar10
from qhyvit.data.cifar10_sample import write_sample
from qhyvit.data.dvc import pull, tracked_hash
from qhyvit.data.manifest import write_manifest
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.weights import download, pin_hash
from qhyvit.models.zoo import build, load_weights
from qhyvit.provenance import file_sha256


def fetch_images(config: Config, output: Path) -> None:
    """Pull both splits of the image set and write its manifest to ``output``."""
    dataset = config.experiment.dataset
    for folder in (dataset.calibration, dataset.evaluation):
        if tracked_hash(folder):
            pull(folder)
    write_manifest(dataset, output)


def fetch_weights(config: Config, model: str, output: Path) -> None:
    """Get the weights of ``model``, load them once, and write their path, as it is stated, and hash to ``output`` (JSON).

    What DVC tracks is pulled. Any other file is downloaded if it is not there, and held to the hash that it had at first. Raises InputError
    for one that is not there and has no source.
    """
    stated, path, source = config.configured_weights(model), config.weights_path(model), config.models[model].source
    if tracked_hash(path):
        pull(path)
    elif not path.exists():
        if source is None:
            raise InputError(
                f"{path}: no such weights, and {config.experiment.models_file} has no source for {model}; put them there by hand"
                " (`qhyvit fetch checkpoint` converts a checkpoint of PyTorch's), or leave the model out"
            )
        download(source, path)
    load_weights(build(config.models[model], config.experiment.dataset.classes, config.experiment.dataset.input_size), path)
    if not tracked_hash(path):
        pin_hash(path, stated, config.experiment.weights_lock)
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps({"path": str(stated), "sha256": file_sha256(path)}) + "\n")


def fetch_cifar10(output: Path, sample: Path) -> None:
    """Fetch the full set to ``output`` and write the embedded sample to ``sample``."""
    cifar10.fetch(output)
    write_sample(cifar10.load(output, "train"), cifar10.load(output, "test"), sample)
