"""ImageNet-1k (ILSVRC2012) as users have it: one folder per class, or the archives of image-net.org, read in place.

A class has a WordNet id; its label is the rank of that id, which is the usual order. The archives are tar files without compression,
so that an image is a range of their bytes: nothing is unpacked.
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

import numpy as np
import scipy  # its parts are imported at their first use

from qhyvit.data.entries import Entry
from qhyvit.data.tar import Member
from qhyvit.errors import InputError
from qhyvit.own_files import require_regular, said_by

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
_WORDNET_ID = r"n\d{8}"
_SUFFIXES = (".jpeg", ".jpg")
_READING_FAULTS = (tarfile.TarError, zlib.error, EOFError, OSError)
_CONTENT_FAULTS = (NotImplementedError, LookupError, TypeError, ValueError, RecursionError, OverflowError)
_LARGEST_DEVKIT = 2**28  # bytes when unpacked, more than ten times as many as it has


@dataclass(frozen=True)
class _Image:
    wordnet_id: str
    path: Path
    part: tuple[int, int] | None = None


def place(folder: Path) -> Path:
    """Return ``folder``, or if it is missing the archive next to it: `ILSVRC2012_img_val.tar` for `val`."""
    return _archive_of(folder) if _archive_of(folder).is_file() and not folder.is_dir() else folder


def read_classes(source: Path, classes: int) -> dict[str, list[Entry]]:
    """List the images of a `place` by their WordNet id; ids are in the order of labels, and images in that of file names.

    A folder and its archive give equal lists.

    Raises InputError if nothing is there, for an archive that is damaged or holds something else, and if the images are of more or fewer
    than ``classes`` classes.
    """
    readers = {TRAIN: _read_train_archive, VALIDATION: _read_validation_archive}
    images = sorted(readers.get(source.name, _read_folders)(source), key=lambda image: (image.wordnet_id, image.path.name))
    by_class = {wordnet_id: list(of_class) for wordnet_id, of_class in groupby(images, key=lambda image: image.wordnet_id)}
    if len(by_class) != classes:
        raise InputError(
            f"{source}: has images of {len(by_class)} classes, dataset.classes is {classes}; give it one subfolder per class, named by"
            " its WordNet id (n01440764, ...), or the complete archive of image-net.org, or correct dataset.classes"
        )
    return {
        wordnet_id: [Entry(image.path, label, part=image.part) for image in of_class]
        for label, (wordnet_id, of_class) in enumerate(by_class.items())
    }


def _archive_of(folder: Path) -> Path:
    return folder.with_name(f"ILSVRC2012_img_{folder.name}.tar")


def _read_folders(folder: Path) -> Iterator[_Image]:
    """Read `<WordNet id>/<any name>.JPEG`."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, and no {_archive_of(folder).name} next to it; put one of them there, or correct the path in the"
            " section dataset"
        )
    for of_class in folder.iterdir():
        if re.fullmatch(_WORDNET_ID, of_class.name):
            yield from (_Image(of_class.name, path) for path in of_class.iterdir() if path.suffix.lower() in _SUFFIXES)


def _read_train_archive(archive: Path) -> Iterator[_Image]:
    """Read one archive per class, `<WordNet id>.tar`, of files `<WordNet id>_<number>.JPEG`."""
    with _named_faults(archive), tarfile.open(archive, "r:", tarinfo=Member) as outer:
        for of_class, member in _files(outer, rf"({_WORDNET_ID})\.tar"):
            with tarfile.open(fileobj=outer.extractfile(member), mode="r:", tarinfo=Member) as inner:
                for name, image in _files(inner, rf"{of_class[1]}_\d+\.JPEG"):
                    yield _Image(of_class[1], archive / name[0], (member.offset_data + image.offset_data, image.size))


def _read_validation_archive(archive: Path) -> Iterator[_Image]:
    """Read files `ILSVRC2012_val_<number>.JPEG`; the development kit next to the archive has the class of each number."""
    truth = _read_ground_truth(archive.with_name(DEVKIT))
    with _named_faults(archive), tarfile.open(archive, "r:", tarinfo=Member) as images:
        found = {int(name[1]): (name[0], member) for name, member in _files(images, r"ILSVRC2012_val_(\d{8})\.JPEG")}
    if found.keys() != truth.keys():
        raise InputError(f"{archive}: holds {len(found)} images, {DEVKIT} has labels of {len(truth)}; download the archive again")
    return (_Image(truth[number], archive / name, (member.offset_data, member.size)) for number, (name, member) in found.items())


def _read_ground_truth(devkit: Path) -> dict[int, str]:
    """Read the WordNet id of each validation image by its number, from 1."""
    with _named_faults(devkit):
        with gzip.open(devkit) as file:
            content = file.read(_LARGEST_DEVKIT + 1)  # to the end, which checks its checksum: loadmat crashes on corrupted files
        if len(content) > _LARGEST_DEVKIT:
            raise ValueError("it is too large")
    with _named_faults(devkit), tarfile.open(fileobj=BytesIO(content), tarinfo=Member) as archive:
        synsets = _read_synsets(_content(archive, "meta.mat"))
        wordnet_ids = dict(zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True))
        truth = np.loadtxt(_content(archive, "ILSVRC2012_validation_ground_truth.txt"), dtype=int, ndmin=1)
        return {number: str(wordnet_ids[synset]) for number, synset in enumerate(truth, start=1)}


def _read_synsets(file: BytesIO) -> np.ndarray:
    try:
        return scipy.io.loadmat(file, squeeze_me=True, variable_names=["synsets"])["synsets"]
    except Exception as error:  # of any kind, by scipy's decoder
        raise ValueError(f"meta.mat: {said_by(error)}") from error


def _content(devkit: tarfile.TarFile, name: str) -> BytesIO:
    member = devkit.extractfile(f"ILSVRC2012_devkit_t12/data/{name}")
    if member is None:
        raise KeyError(f"{name} is no file")
    return BytesIO(member.read())


def _files(archive: tarfile.TarFile, pattern: str) -> Iterator[tuple[re.Match[str], tarfile.TarInfo]]:
    """Yield the files of an archive, each with the match of its name. Raises ValueError for a member of another name or kind."""
    for member in archive:
        if member.isdir():
            continue
        match = re.fullmatch(pattern, member.name.rpartition("/")[2])
        if match is None or not member.isreg() or member.issparse():
            raise ValueError(f"it holds {member.name!r}")
        yield match, member


@contextmanager
def _named_faults(archive: Path) -> Iterator[None]:
    """Raise InputError for any fault of an archive."""
    require_regular(archive)
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{archive}: no such file; put the archive of image-net.org there") from error
    except (*_READING_FAULTS, *_CONTENT_FAULTS) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{archive}: not the archive of image-net.org, or damaged ({said}); download it again") from error
