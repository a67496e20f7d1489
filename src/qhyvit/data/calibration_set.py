"""The calibration images of a seed, as the batches in which they are run."""

from pathlib import Path

import torch
from torch import Tensor

from qhyvit.config.experiment import Experiment
from qhyvit.data.entries import Entry, Transform, read_checked, sample_entries
from qhyvit.data.manifest import read_manifest


def calibration_entries(experiment: Experiment, manifest: Path, seed: int, count: int | None = None) -> list[Entry]:
    """What ``seed`` draws of the calibration images: ``count`` or as many as the experiment says.

    Raises InputError when there are too few.
    """
    return sample_entries(read_manifest(experiment.dataset, manifest, "calibration"), count or experiment.calibration.images, seed)


def load_batches(experiment: Experiment, entries: list[Entry], transform: Transform) -> list[Tensor]:
    """The images, transformed, in batches [B, 3, H, W]."""
    return list(torch.stack([transform(read_checked(entry)) for entry in entries]).split(experiment.calibration.batch_size))
