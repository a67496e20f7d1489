"""Cut the embedded image set out of CIFAR-10: part of the test images to evaluate on, some training images to calibrate with."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from qhyvit.data.cifar10 import CLASSES
from qhyvit.data.labelled_folder import LABELS

EVALUATION_PER_CLASS = 200
CALIBRATION_IMAGES = 256
SEED = 0


def write_sample(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], folder: Path) -> None:
    """Write the folders ``evaluation`` and ``calibration`` from images uint8 [N, 32, 32, 3] and labels [N] of both splits."""
    generator = np.random.default_rng(SEED)
    labels = test[1]
    evaluation = [generator.choice(np.flatnonzero(labels == label), EVALUATION_PER_CLASS, replace=False) for label in range(len(CLASSES))]
    _write_folder(*test, np.sort(np.concatenate(evaluation)), folder / "evaluation")
    calibration = generator.choice(len(train[1]), CALIBRATION_IMAGES, replace=False)
    _write_folder(*train, np.sort(calibration), folder / "calibration")


def _write_folder(images: np.ndarray, labels: np.ndarray, chosen: np.ndarray, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in chosen:
        filename = f"{index:05d}-{CLASSES[labels[index]]}.png"
        Image.fromarray(images[index]).save(folder / filename, optimize=True)
        rows.append((filename, labels[index]))
    pd.DataFrame(rows, columns=["filename", "label"]).to_csv(folder / LABELS, index=False)
