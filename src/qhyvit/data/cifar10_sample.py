"""Cut the embedded image sets out of CIFAR-10: test images to evaluate on, and training images to calibrate and tune with.

Other test images are the final evaluation set, for one run after all choices are made: nothing else may read it.
"""

import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from qhyvit.data.cifar10 import CLASSES
from qhyvit.data.labelled_folder import LABELS
from qhyvit.files import atomic_folder

EVALUATION_PER_CLASS = 200
CALIBRATION_IMAGES = 256
TUNING_IMAGES = 1024
SEED = 0

Split = tuple[np.ndarray, np.ndarray]  # images uint8 [N, 32, 32, 3] and labels [N]


class Sample(NamedTuple):
    """Sorted indices of images: ``evaluation`` and ``final`` of the test split, ``calibration`` and ``tuning`` of the training split.

    ``tuning`` contains ``calibration``.
    """

    evaluation: np.ndarray
    calibration: np.ndarray
    tuning: np.ndarray
    final: np.ndarray


def draw_sample(train: Split, test: Split) -> Sample:
    """Draw all sets, EVALUATION_PER_CLASS for both of evaluation.

    No other image of CIFAR-10 has the pixels of a ``final`` one, or of one that ``tuning`` adds to ``calibration``.
    """
    generator = np.random.default_rng(SEED)
    evaluation = _draw_classes(test[1], np.full(len(test[1]), True), generator)
    calibration = np.sort(generator.choice(len(train[1]), CALIBRATION_IMAGES, replace=False))
    train_left, test_left = np.split(_unique(np.concatenate([train[0], test[0]])), [len(train[0])])
    test_left[evaluation] = False
    final = _draw_classes(test[1], test_left, generator)
    train_left[calibration] = False
    more = generator.choice(np.flatnonzero(train_left), TUNING_IMAGES - CALIBRATION_IMAGES, replace=False)
    return Sample(evaluation, calibration, np.sort(np.concatenate([calibration, more])), final)


def write_sample(train: Split, test: Split, folder: Path) -> None:
    """Write the folders ``cifar10/evaluation``, ``cifar10/calibration``, ``cifar10-tuning`` and ``cifar10-final`` from both splits."""
    sample = draw_sample(train, test)
    _write_folder(*test, sample.evaluation, folder / "cifar10/evaluation")
    _write_folder(*train, sample.calibration, folder / "cifar10/calibration")
    _write_folder(*train, sample.tuning, folder / "cifar10-tuning")
    _write_folder(*test, sample.final, folder / "cifar10-final")


def _draw_classes(labels: np.ndarray, allowed: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw EVALUATION_PER_CLASS of the ``allowed`` images (bool [N]) of each class."""
    of_class = (np.flatnonzero((labels == label) & allowed) for label in range(len(CLASSES)))
    return np.sort(np.concatenate([generator.choice(indices, EVALUATION_PER_CLASS, replace=False) for indices in of_class]))


def _unique(images: np.ndarray) -> np.ndarray:
    """Tell which ``images`` [N, H, W, 3] have pixels that no other has: bool [N]."""
    hashes = [sha256(image.tobytes()).digest() for image in images]
    counts = Counter(hashes)
    return np.array([counts[digest] == 1 for digest in hashes])


def _write_folder(images: np.ndarray, labels: np.ndarray, chosen: np.ndarray, folder: Path) -> None:
    """Write the folder whole, in the place of one that is there."""
    with atomic_folder(folder) as temporary:
        rows = []
        for index in chosen:
            filename = f"{index:05d}-{CLASSES[labels[index]]}.png"
            Image.fromarray(images[index]).save(temporary / filename, optimize=True)
            rows.append((filename, labels[index]))
        pd.DataFrame(rows, columns=["filename", "label"]).to_csv(temporary / LABELS, index=False)
        if folder.exists():
            shutil.rmtree(folder)
