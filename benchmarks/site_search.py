"""Common input of the fast and the naive search."""

from pathlib import Path

import torch
from torch import Generator, Tensor

from benchmarks.common import MANIFEST, MODEL, SEED, kept, load_experiment
from qhyvit.calibration.losses import Loss
from qhyvit.config.loading import Config
from qhyvit.config.methods import ScaleSearchMethod
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.loading import load_model

METHOD = "qhyvit-scale"


def folder(bits: str, size: int, images: int, sites: int | None) -> Path:
    """Return the folder of the intermediate results of a run."""
    return kept(f"search-{bits}-{size}px-{images}images-{sites or 'all'}sites")


def load(size: int, images: int) -> tuple[Config, TracedModel, list[Tensor]]:
    """Return the experiment, the model and the calibration images in batches."""
    torch.set_num_threads(1)
    config = load_experiment(size, images)
    loaded = load_model(config, MODEL)
    entries = calibration_entries(config.experiment, MANIFEST, SEED)
    return config, loaded.traced, load_batches(config.experiment, entries, loaded.transform)


def settings(config: Config) -> ScaleSearchMethod:
    """Return the settings of the method whose search is compared."""
    method = config.methods[METHOD]
    assert isinstance(method, ScaleSearchMethod)
    return method


def same_labels(loss: Loss) -> Loss:
    """Give a loss a random generator of its own: both searches have the same labels, though only one of them samples positions."""
    generator = Generator().manual_seed(SEED)
    return lambda logits, reference, _: loss(logits, reference, generator)
