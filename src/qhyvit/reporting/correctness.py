"""Correctness of every run, image by image and small enough to commit: it allows paired comparisons of runs and of revisions."""

from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qhyvit.errors import InputError
from qhyvit.own_files import require, written_by
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.read import read_table
from qhyvit.reporting.runs import KEY, correct_images, in_order

DIGITS = 16  # of the hash of the images
COLUMNS = [*KEY, "images", "images_hash", "correct"]


def correct_table(results: list[dict[str, Any]], manifest: Path, methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per result: its key, the number of images of the ``manifest``, their hash, and the correct ones in hex.

    Raises InputError for a file that is no manifest, or one of another number of images.
    """
    evaluated = _evaluated(manifest)
    for result in results:
        if result["images"] != len(evaluated):
            raise InputError(
                f"{manifest}: {len(evaluated)} evaluation images, but {result['model']}, {result['method']}, was evaluated on"
                f" {result['images']}; give the manifest of its evaluation"
            )
    images = _hash(evaluated)
    rows = [result | {"images_hash": images, "correct": encode(correct_images(result))} for result in results]
    return in_order(pd.DataFrame(rows, columns=COLUMNS), methods)


def _evaluated(manifest: Path) -> pd.DataFrame:
    """Return label and hash of the pixels of each evaluation image. Raises InputError for a file that is no manifest."""
    with written_by(manifest, "`qhyvit fetch images`"):
        table = pd.read_csv(manifest, dtype=str)
        return table.loc[table.split == "evaluation", ["label", "pixels_sha256"]]


def _hash(evaluated: pd.DataFrame) -> str:
    return sha256(evaluated.to_csv(index=False).encode()).hexdigest()[:DIGITS]


def encode(correct: np.ndarray) -> str:
    """Return bool [N] as hex digits of four images each, the first image in the highest bit."""
    return np.packbits(correct).tobytes().hex()


def decode(digits: str, images: int) -> np.ndarray:
    """Return the bool [N] that `encode` wrote, N = ``images``."""
    require(len(digits) == 2 * -(-images // 8), f"{len(digits)} digits of {images} images")
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=images).astype(bool)


def read_correct(source: Path | StringIO) -> pd.DataFrame:
    """Read correct.csv, a `correct_table`."""
    return read_table(source)
