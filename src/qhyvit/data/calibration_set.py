"""Calibration images of a seed, and the batches in which networks see them."""

from pathlib import Path

import torch
from torch import Tensor

from qhyvit.config.experiment import Experiment
from qhyvit.data.entries import Entry, read_checked
from qhyvit.data.labelled_images import Transform
from qhyvit.data.manifest import read_manifest
from qhyvit.data.sampling import sample_entries


def calibration_entries(experiment: Experiment, manifest: Path, seed: int, count: int | None = None) -> list[Entry]:
    """Sample the calibration images of ``seed``: ``count``, or as many as the experiment states.

    Raises InputError if there are too few.
    """
    return sample_entries(read_manifest(experiment.dataset, manifest, "calibration"), count or experiment.calibration.images, seed)


def load_images(entries: list[Entry], transform: Transform) -> Tensor:
    """Read and transform the images [N, 3, H, W]."""
    return torch.stack([transform(read_checked(entry)) for entry in entries])


def load_batches(experiment: Experiment, entries: list[Entry], transform: Transform) -> list[Tensor]:
    """Read and transform the images, in batches [B, 3, H, W]."""
    return list(load_images(entries, transform).split(experiment.calibration.batch_size))
