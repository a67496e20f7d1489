"""Folder of images without labels."""

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from qhyvit.data.labelled_folder import SUFFIXES, class_names
from qhyvit.errors import InputError


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder and of its subfolders at any depth, sorted by path; what is hidden is left out.

    Links are followed, but into no folder that they are in. Raises InputError if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        said = "is a file" if folder.is_file() else "no such folder"
        raise InputError(f"{folder}: {said}; give a folder of images")
    images = sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES)
    if not images:
        raise InputError(f"{folder}: there are no images ({', '.join(SUFFIXES)}) in it or below it; add some, or give another folder")
    return images


def draw(images: list[Path], count: int, seed: int) -> list[Path]:
    """Draw ``count`` images without replacement, or all of them if there are fewer, in random order: batches have several classes.

    A smaller draw with the same seed is the start of a larger one.
    """
    return random.Random(seed).sample(images, len(images))[:count]  # sample() draws smaller numbers in another way


def class_labels(images: Sequence[Path], folder: Path) -> list[int]:
    """Return the labels of images of a folder with one subfolder per class: the ranks of the names of these."""
    names = class_names(folder)
    return [names.index(path.relative_to(folder).parts[0]) for path in images]


def missing_labels(images: Sequence[Path], folder: Path, classes: int) -> str:
    """Say why the images of a folder have no labels; "" if they have."""
    if any(path.parent == folder for path in images):
        return f"images are in {folder} itself, not in one subfolder per class"
    count = len(class_names(folder))
    return "" if count == classes else f"{folder} has {count} subfolders, and the model {classes} classes"


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files that are not hidden, at any depth."""
    for path, folders, files in os.walk(folder, followlinks=True):
        root = Path(path)
        above = [other for other in (root, *root.parents) if other.is_relative_to(folder)]
        folders[:] = [name for name in folders if not name.startswith(".") and not any(map((root / name).samefile, above))]
        yield from (root / name for name in files if not name.startswith("."))
