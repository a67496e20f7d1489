"""Seeded samples of labelled images."""

import os
from pathlib import Path

import pandas as pd
import torch

from qhyvit.data.entries import Entry
from qhyvit.errors import InputError


def sample_entries(entries: list[Entry], count: int, seed: int) -> list[Entry]:
    """Sample ``count`` entries without replacement; a smaller sample of the same seed is the start of a larger one.

    Raises InputError if there are fewer.
    """
    if count > len(entries):
        raise InputError(
            f"{_common_folder(entries)}: has {len(entries)} images to calibrate with, {count} are asked for; add images or lower the"
            " number (calibration.images, calibration_sizes or sensitivity.images)"
        )
    chosen = torch.randperm(len(entries), generator=torch.Generator().manual_seed(seed))[:count]
    return [entries[index] for index in chosen.tolist()]


def sample_by_class(entries: list[Entry], count: int, seed: int) -> list[Entry]:
    """Sample ``count`` entries of each label without replacement, in the order of ``entries``. Raises InputError if a label has fewer."""
    by_label = pd.Series([entry.label for entry in entries]).groupby(lambda index: entries[index].label)
    sizes = by_label.size()
    if sizes.min() < count:
        label = sizes.idxmin()
        folder = entries[by_label.groups[label][0]].path.parent
        raise InputError(f"{folder}: class {label} has {sizes.min()} images, {count} are asked for; add images or lower dataset.subset")
    return [entries[index] for index in sorted(by_label.sample(count, random_state=seed).index)]


def _common_folder(entries: list[Entry]) -> Path:
    return Path(os.path.commonpath([entry.path.parent for entry in entries]))
