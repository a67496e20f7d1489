"""Folder of images with a `labels.csv` (columns filename, label) next to them, or with one subfolder per class."""

from pathlib import Path

import pandas as pd

from qhyvit.data.dvc import how_to_restore
from qhyvit.data.entries import Entry, path_below
from qhyvit.errors import InputError

LABELS = "labels.csv"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_entries(folder: Path, classes: int) -> list[Entry]:
    """List the images of a folder: with `labels.csv` sorted by file name, else by class and file name.

    Raises InputError for a malformed `labels.csv`, a label outside [0, ``classes``), an image that is missing or not below ``folder``, and
    for folders of more or fewer than ``classes`` classes.
    """
    labels = folder / LABELS
    return _read_labels(labels, classes) if labels.exists() else _read_classes(folder, classes)


def class_names(folder: Path) -> list[str]:
    """Names of the subfolders, in the order of their labels; none if there is a `labels.csv`."""
    if (folder / LABELS).exists() or not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_labels(source: Path, classes: int) -> list[Entry]:
    try:
        table = pd.read_csv(source, dtype=str, keep_default_na=False)[["filename", "label"]]
    except (KeyError, ValueError) as error:
        raise InputError(f"{source}: not a CSV file with the columns filename and label ({error}); write it so") from error
    entries = []
    for row, (filename, label) in enumerate(table.sort_values("filename").itertuples(index=False), start=1):
        if not (label.isdecimal() and 0 <= int(label) < classes):
            raise InputError(f"{source}: label {label!r} of {filename} is outside 0..{classes - 1}; correct it or dataset.classes")
        path = path_below(source.parent, filename, source)
        if not path.is_file():
            raise InputError(f"{path}: missing, but listed in {source} (row {row}); {how_to_restore(path)}, or delete its row")
        entries.append(Entry(path, int(label)))
    if not entries:
        raise InputError(f"{source}: lists no images; add one row per image")
    return entries


def _read_classes(folder: Path, classes: int) -> list[Entry]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {how_to_restore(folder)}, or correct the path in the section dataset")
    names = class_names(folder)
    if not names:
        raise InputError(
            f"{folder / LABELS}: no such file, and {folder} has no subfolders; write it with the columns filename and label, or move the"
            " images of each class to a subfolder"
        )
    if len(names) != classes:
        raise InputError(f"{folder}: has subfolders for {len(names)} classes, dataset.classes is {classes}; correct one of them")
    return [Entry(path, label) for label, name in enumerate(names) for path in _images(folder / name)]


def _images(folder: Path) -> list[Path]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise InputError(f"{folder}: has no images ({', '.join(SUFFIXES)}); add some or remove the folder")
    return images
