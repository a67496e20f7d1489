"""An ordinary image-folder data set: a `labels.csv` with the columns filename and label, beside the images."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from qhyvit.errors import InputError

LABELS = "labels.csv"
Transform = Callable[[Image.Image], Tensor]  # an image to a network's input [3, H, W]


@dataclass(frozen=True)
class Entry:
    """One image with its label and, once it was checked, the hash of its pixels.

    ``path`` is its file. An image in an uncompressed archive has the path of the archive and its name there, and is the ``part`` of the
    archive's bytes that begins at the first number and is as long as the second.
    """

    path: Path
    label: int
    pixels_sha256: str | None = None
    part: tuple[int, int] | None = None


def read_entries(folder: Path, classes: int) -> list[Entry]:
    """The images of a folder, sorted by file name.

    Raises InputError for a missing or malformed `labels.csv`, a label outside [0, ``classes``) and an image that is not there.
    """
    source = folder / LABELS
    try:
        table = pd.read_csv(source, dtype=str, keep_default_na=False)[["filename", "label"]]
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file; run `qhyvit fetch images`, or write it with the columns filename and label") from error
    except (KeyError, ValueError) as error:
        raise InputError(f"{source}: not a CSV file with the columns filename and label ({error})") from error
    entries = []
    for row, (filename, label) in enumerate(table.sort_values("filename").itertuples(index=False), start=1):
        if not (label.isdecimal() and 0 <= int(label) < classes):
            raise InputError(f"{source}: label {label!r} of {filename} is outside 0..{classes - 1}; correct it or the config's classes")
        path = folder / filename
        if not path.is_file():
            raise InputError(f"{path}: missing, but listed in {source} (row {row}); restore it with `dvc pull --force` or delete its row")
        entries.append(Entry(path, int(label)))
    if not entries:
        raise InputError(f"{source}: lists no images")
    return entries


def read_image(path: Path, part: tuple[int, int] | None = None) -> Image.Image:
    """The image of an entry's ``path`` and ``part`` as RGB. Raises InputError when it is truncated or no image."""
    try:
        with path.open("rb") if part is None else _read_part(path.parent, *part) as file, Image.open(file) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: not a whole image ({error}); restore it with `dvc pull --force` or replace it") from error


def _read_part(archive: Path, offset: int, size: int) -> BytesIO:
    with archive.open("rb") as file:
        file.seek(offset)
        return BytesIO(file.read(size))


def pixel_hash(image: Image.Image) -> str:
    """The sha256 of size and RGB pixels: equal for equal pictures, however their files are named or compressed."""
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def read_checked(entry: Entry) -> Image.Image:
    """The image of an entry. Raises InputError when its pixels are not those that were checked."""
    image = read_image(entry.path, entry.part)
    if entry.pixels_sha256 not in (None, pixel_hash(image)):
        raise InputError(f"{entry.path}: has changed since `qhyvit fetch images` checked it; run that again")
    return image


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """The transformed images of some entries, with their labels."""

    def __init__(self, entries: list[Entry], transform: Transform) -> None:
        self.entries = entries
        self.transform = transform

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        entry = self.entries[index]
        return self.transform(read_checked(entry)), entry.label


def sample_entries(entries: list[Entry], count: int, seed: int) -> list[Entry]:
    """``count`` entries without replacement, in the order of the folder. Raises InputError when there are fewer."""
    if count > len(entries):
        raise InputError(f"{entries[0].path.parent}: {count} calibration images are asked for, {len(entries)} are there")
    chosen = torch.randperm(len(entries), generator=torch.Generator().manual_seed(seed))[:count]
    return [entries[index] for index in sorted(chosen.tolist())]


def sample_by_class(entries: list[Entry], count: int, seed: int) -> list[Entry]:
    """``count`` entries of each label without replacement, in the order of ``entries``. Raises InputError when a label has fewer."""
    by_label = pd.Series([entry.label for entry in entries]).groupby(lambda index: entries[index].label)
    sizes = by_label.size()
    if sizes.min() < count:
        place = entries[by_label.groups[sizes.idxmin()][0]].path.parent
        raise InputError(
            f"{place}: class {sizes.idxmin()} has {sizes.min()} images, {count} are asked for; complete it or lower dataset.subset"
        )
    return [entries[index] for index in sorted(by_label.sample(count, random_state=seed).index)]
