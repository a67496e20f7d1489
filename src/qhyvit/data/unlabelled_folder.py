"""Folder of images without labels."""

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from qhyvit.data.labelled_folder import LABELS, SUFFIXES, class_names
from qhyvit.errors import InputError


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder and of its subfolders at any depth, sorted by path; what is hidden is left out.

    Links are followed, but into no folder that they are in, or that is above it. Raises InputError if there is no such folder, or no image
    in it.
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
    if (folder / LABELS).exists():
        return f"{folder} has its labels in {LABELS}, which is not read here"
    names = class_names(folder)
    if len(names) != classes:
        return f"{folder} has {len(names)} subfolders, and the model {classes} classes"
    from timm.utils import natural_key  # not at the top: timm takes seconds

    if names != sorted(names, key=natural_key):
        return f"the subfolders of {folder} are in another order by name than in timm, which sorts numbers as numbers and ignores case"
    return ""


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files that are not hidden, at any depth."""
    for path, folders, files in os.walk(folder, followlinks=True):
        root = Path(path)
        above = {*(other for other in (root, *root.parents) if other.is_relative_to(folder)), *root.resolve().parents}
        folders[:] = [name for name in folders if not name.startswith(".") and not any(map((root / name).samefile, above))]
        yield from (root / name for name in files if not name.startswith("."))
