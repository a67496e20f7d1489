"""Sizes, time stamps and hashes of data files when they were checked, by which a plan tells if they have changed since.

The file of stamps names a state. As long as the data are as they were checked, the state is that name; else it is a hash of the changes.
The check of changed data is given that hash as their new state: a plan thus finds the same state before and after it.
"""

import csv
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, get_args

from qhyvit.config.base import Split
from qhyvit.config.dataset import Dataset
from qhyvit.data import imagenet
from qhyvit.data.entries import Entry
from qhyvit.data.labelled_folder import LABELS
from qhyvit.files import atomic_write, file_sha256, is_file
from qhyvit.own_files import FAULTS, require_regular

FIRST, WEIGHTS = "first", "weights"


class Stamp(NamedTuple):
    """State of a file: size in bytes, modification time in nanoseconds, and sha256 (empty for an archive, which is too large to hash)."""

    size: int
    modified: int
    sha256: str

    @classmethod
    def of(cls, path: Path, *, hashed: bool = True) -> "Stamp":
        """Return the state of a file, whose time is taken before its hash. Raises InputError if it is no regular file."""
        require_regular(path)
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, file_sha256(path) if hashed else "")

    def holds(self, path: Path) -> bool:
        """Tell if the file is still in this state; it is read only where its time differs and its size does not."""
        if not is_file(path) or path.stat().st_size != self.size:
            return False
        return path.stat().st_mtime_ns == self.modified or (bool(self.sha256) and file_sha256(path) == self.sha256)


def place_of(dataset: Dataset, split: Split) -> Path:
    """Return the folder or archive of the images of a split on this machine."""
    stated = dataset.folder(split)
    return imagenet.place(stated) if dataset.layout == "imagenet" else stated


def places_of(dataset: Dataset) -> dict[str, Path]:
    """Return the place of the images of each split."""
    return {split: place_of(dataset, split) for split in get_args(Split)}


def write_image_stamps(path: Path, state: str, dataset: Dataset, entries: Iterable[tuple[Split, Entry]]) -> None:
    """Write the stamps of all files of ``entries`` and of their labels, which are in the ``state`` of that name."""
    places = places_of(dataset)
    files = {(split, file): not entry.part for split, entry in entries for file in _files(places[split], entry)}
    rows = [(split, _name(file, places[split]), Stamp.of(file, hashed=hashed)) for (split, file), hashed in files.items()]
    _write(path, state, rows)


def write_stamp(path: Path, state: str, file: Path) -> None:
    """Write the stamp of a single file, such as weights, which is in the ``state`` of that name."""
    _write(path, state, [(WEIGHTS, "", Stamp.of(file))])


def data_state(path: Path, places: Mapping[str, Path]) -> tuple[str, list[Path]]:
    """Return the state of the data whose stamps are in ``path``, and the files that have changed since these were written.

    ``places`` has the folder of the names of each kind, or the only file of the kind. Data whose place is missing count as unchanged, since
    a plan does without them. The state is FIRST if there is no file of stamps in ``path``.
    """
    try:
        state, rows = _read(path)
    except FAULTS:
        return FIRST, []
    files = [(kind, name, _file(places[kind], name), stamp) for kind, name, stamp in rows if kind in places and places[kind].exists()]
    changed = [row for row in files if not row[-1].holds(row[-2])]
    if not changed:
        return state, []
    found = [(kind, name, Stamp.of(file, hashed=bool(stamp.sha256)) if is_file(file) else None) for kind, name, file, stamp in changed]
    return sha256(repr((state, found)).encode()).hexdigest()[:16], [file for _, _, file, _ in changed]


def _files(place: Path, entry: Entry) -> list[Path]:
    return [entry.path.parent if entry.part else entry.path, *([place / LABELS] if (place / LABELS).is_file() else [])]


def _name(file: Path, place: Path) -> str:
    return "" if file == place else str(file.relative_to(place))


def _file(place: Path, name: str) -> Path:
    return place / name if name else place


def _write(path: Path, state: str, rows: Iterable[tuple[str, str, Stamp]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([state])
        writer.writerows((kind, name, *stamp) for kind, name, stamp in rows)


def _read(path: Path) -> tuple[str, list[tuple[str, str, Stamp]]]:
    with path.open(newline="", encoding="utf-8") as file:
        (state,), *rows = csv.reader(file)
    return state, [(kind, name, Stamp(int(size), int(modified), digest)) for kind, name, size, modified, digest in rows]
