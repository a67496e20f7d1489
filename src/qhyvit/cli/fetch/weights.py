"""Command `fetch weights`."""

import json
import os

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.config.loading import Config
from qhyvit.config.models import OF_NETWORK
from qhyvit.data.dvc import pull, tracked_path
from qhyvit.data.stamps import FIRST, write_stamp
from qhyvit.errors import InputError
from qhyvit.files import atomic_write, file_sha256
from qhyvit.models.weights import download, pin_hash
from qhyvit.models.zoo import build, load_weights


def fetch_weights(
    config: options.Config,
    model: options.Model,
    output: options.Output,
    stamps: options.Stamps = None,
    state: options.State = FIRST,
) -> None:
    """Get the weights of a model, check that they fit, and write a receipt with their hash and the network's settings.

    Weights tracked by DVC are pulled. Others are downloaded from their source if they are missing, and must keep the hash that
    they had the first time.
    """
    settings = load_experiment(config, model)
    configured, path = settings.configured_weights(model), settings.weights_path(model)
    if tracked := tracked_path(path):
        pull(tracked)
    elif not os.path.lexists(path):
        _download(settings, model)
    dataset = settings.experiment.dataset
    spec = settings.models[model]
    load_weights(build(spec, dataset.classes, dataset.input_size), path)
    if not tracked:
        pin_hash(path, configured, settings.experiment.weights_lock)
    if stamps is not None:
        write_stamp(stamps, state, path)
    with atomic_write(output) as temporary:
        receipt = {"path": str(configured), "sha256": file_sha256(path), "model": spec.model_dump(mode="json", include=OF_NETWORK)}
        temporary.write_text(json.dumps(receipt) + "\n")


def _download(settings: Config, model: str) -> None:
    path, source = settings.weights_path(model), settings.models[model].source
    if source is None:
        raise InputError(
            f"{path}: no such weights, and {settings.experiment.models_file} has no source for {model}; put them there"
            " (`qhyvit fetch checkpoint` converts a PyTorch checkpoint), or leave the model out of `models`"
        )
    download(source, path)
