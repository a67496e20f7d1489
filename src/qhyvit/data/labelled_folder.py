"""Folder of images with a `labels.csv` (columns filename, label) next to them, or with one subfolder per class."""

import os
from pathlib import Path

from qhyvit.data.dvc import how_to_restore
from qhyvit.data.entries import Entry, path_below
from qhyvit.data.labels_file import read_labels
from qhyvit.errors import InputError
from qhyvit.files import is_file
from qhyvit.own_files import irregular, require_regular

LABELS = "labels.csv"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_entries(folder: Path, classes: int) -> list[Entry]:
    """List the images of a folder: with `labels.csv` sorted by file name, else by class and file name.

    Raises InputError for a malformed `labels.csv` (see `read_labels`), an image that is missing, not below ``folder``, no regular file, or
    listed twice by way of a link, and for folders of more or fewer than ``classes`` classes.
    """
    labels = folder / LABELS
    entries = _read_labels(labels, classes) if os.path.lexists(labels) else _read_classes(folder, classes)
    _refuse_same_file(folder, [entry.path for entry in entries])
    return entries


def class_names(folder: Path) -> list[str]:
    """Names of the subfolders, in the order of their labels; none if there is a `labels.csv`."""
    if (folder / LABELS).exists() or not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_labels(source: Path, classes: int) -> list[Entry]:
    entries = []
    for row in read_labels(source, classes):
        path = path_below(source.parent, row.name, source)
        if said := irregular(path):
            raise InputError(f"{path}: is {said}, but listed in {source} (line {row.line}); put an image there, or delete its line")
        if not is_file(path):
            raise InputError(f"{path}: missing, but listed in {source} (line {row.line}); {how_to_restore(path)}, or delete its line")
        entries.append(Entry(path, row.label))
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


def _refuse_same_file(folder: Path, images: list[Path]) -> None:
    """Raise InputError for two paths that lead to one file in ``folder``. Links to a store elsewhere may share a file of equal images."""
    first: dict[tuple[int, int], Path] = {}
    for path in images:
        require_regular(path)
        status = path.stat()
        other = first.setdefault((status.st_dev, status.st_ino), path)
        if other is not path and path.resolve() == other.resolve() and path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: the same file as {other}, by way of a link; keep one of them")
