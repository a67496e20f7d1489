"""The manifest of an image set: each image of both splits with its label and the hash of its pixels."""

from pathlib import Path
from typing import get_args

import pandas as pd
from rich.progress import track

from qhyvit.config import Dataset, Split
from qhyvit.data.folder import Entry, pixel_hash, read_entries, read_image
from qhyvit.errors import InputError
from qhyvit.files import written_whole

COLUMNS = ["split", "filename", "label", "pixels_sha256"]


def write_manifest(dataset: Dataset, path: Path) -> None:
    """Decode every image of ``dataset`` and write the manifest as CSV.

    Raises InputError for anything wrong with an image or label, and when an evaluation image is a calibration image too.
    """
    table = pd.DataFrame(
        [
            (split, entry.path.name, entry.label, pixel_hash(read_image(entry.path)))
            for split in get_args(Split)
            for entry in track(read_entries(dataset.folder(split), dataset.classes), f"checking the {split} images")
        ],
        columns=COLUMNS,
    )
    _refuse_overlap(dataset, table)
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)


def read_manifest(dataset: Dataset, path: Path, split: Split) -> list[Entry]:
    """The images of one split as `write_manifest` found them."""
    table = pd.read_csv(path, dtype={"filename": str})
    rows = table[table.split == split]
    folder = dataset.folder(split)
    columns = (rows[name].tolist() for name in ("filename", "label", "pixels_sha256"))
    return [Entry(folder / filename, label, pixels) for filename, label, pixels in zip(*columns, strict=True)]


def _refuse_overlap(dataset: Dataset, table: pd.DataFrame) -> None:
    calibration, evaluation = (table[table.split == split] for split in ("calibration", "evaluation"))
    both = calibration.merge(evaluation, on="pixels_sha256", suffixes=("", "_evaluation"))
    if len(both):
        first = both.iloc[0]
        raise InputError(
            f"{dataset.folder('calibration') / first.filename}: also an evaluation image"
            f" ({dataset.folder('evaluation') / first.filename_evaluation}); {len(both)} overlap:"
            f" remove them from one of the two {dataset.name} splits"
        )
