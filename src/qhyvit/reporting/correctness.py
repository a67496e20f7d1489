"""The hits of every run, image by image and small enough to commit: with them, results of two revisions are compared in pairs."""

from hashlib import sha256
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from qhyvit.reporting.runs import KEY, hits, in_order, read_result

DIGITS = 16  # of the hash of the images
COLUMNS = [*KEY, "images", "images_hash", "hits"]


def hits_table(paths: list[Path], manifest: Path) -> pd.DataFrame:
    """One row a result file: its key, how many images of the ``manifest`` it is of, their hash, and the hits in hex."""
    results = [read_result(path) for path in paths]
    images = images_hash(manifest)
    rows = [result | {"images_hash": images, "hits": encode(hits(result))} for result in results]
    return in_order(pd.DataFrame(rows, columns=COLUMNS))


def images_hash(manifest: Path) -> str:
    """The hash of labels and pixels of the evaluation images, in order: hits are paired only where it is the same."""
    table = pd.read_csv(manifest, dtype=str)
    evaluated = table.loc[table.split == "evaluation", ["label", "pixels_sha256"]]
    return sha256(evaluated.to_csv(index=False).encode()).hexdigest()[:DIGITS]


def encode(correct: np.ndarray) -> str:
    """Hits bool [N] as hex digits of four images each, the first image in the highest bit."""
    return np.packbits(correct).tobytes().hex()


def decode(digits: str, images: int) -> np.ndarray:
    """The hits bool [N] that `encode` wrote."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=images).astype(bool)


def read_hits(source: Path | StringIO) -> pd.DataFrame:
    """Read back a `hits_table` from CSV."""
    return pd.read_csv(source, dtype={"mode": "string", "images_hash": "string", "hits": "string"}).fillna({"mode": ""})
