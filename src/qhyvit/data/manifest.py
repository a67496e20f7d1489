"""Manifest of an image set: each image of both splits with its label and the hash of its pixels."""

import re
from itertools import chain
from pathlib import Path
from typing import get_args

import pandas as pd

from qhyvit.config.base import Split
from qhyvit.config.dataset import Dataset
from qhyvit.data import labelled_folder
from qhyvit.data.entries import Entry, path_below, pixel_hash, read_image
from qhyvit.data.imagenet import read_classes
from qhyvit.data.sampling import sample_by_class
from qhyvit.data.stamps import FIRST, place_of, write_image_stamps
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.own_files import require, written_by
from qhyvit.progress import track

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # the last are bytes that are no UTF-8
DTYPES = {"split": "str", "filename": "str", "label": "int64", "pixels_sha256": "str", "offset": "Int64", "size": "Int64"}
COLUMNS = ["split", "filename", "label", "pixels_sha256", "offset", "size"]


def write_manifest(dataset: Dataset, path: Path, stamps: Path | None = None, state: str = FIRST) -> None:
    """Decode every image in the subset of ``dataset`` and write the manifest as CSV; `offset` and `size` are for images in archives.

    ``stamps`` is where the stamps of the files are written, in the ``state`` of that name (see `qhyvit.data.stamps`).

    Raises InputError for any fault of an image or label, for fewer than two evaluation images, for splits with different classes, and if
    an image is in both splits.
    """
    entries = [(split, entry) for split, of_split in _entries(dataset).items() for entry in of_split]
    _refuse_single_image(dataset, entries)
    if stamps is not None:
        write_image_stamps(stamps, state, dataset, entries)
    table = check_images(dataset, entries)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def check_images(dataset: Dataset, entries: list[tuple[Split, Entry]]) -> pd.DataFrame:
    """Decode images of ``dataset`` and return their manifest. Raises InputError for any fault, and if an image is in both splits."""
    table = pd.DataFrame(
        [
            _row(split, place_of(dataset, split), entry)
            for name in get_args(Split)
            for split, entry in track([pair for pair in entries if pair[0] == name], f"checking the {name} images")
        ],
        columns=COLUMNS,
    ).astype({"offset": "Int64", "size": "Int64"})
    _refuse_overlap(dataset, table)
    return table


def read_manifest(dataset: Dataset, path: Path, split: Split) -> list[Entry]:
    """List the images of one split as `write_manifest` found them.

    Raises InputError for any other file, for one without images of the split, and for labels that ``dataset`` does not have.
    """
    place = place_of(dataset, split)
    with written_by(path, "`qhyvit fetch images`"):
        table = pd.read_csv(path, dtype=DTYPES, keep_default_na=False, na_values={"offset": [""], "size": [""]})[COLUMNS]
        require(isinstance(table.index, pd.RangeIndex), "its rows have more values than its header")
        require(bool((table.offset.isna() == table["size"].isna()).all()), "it has an offset without a size")
        require(not bool((table[["offset", "size"]] < 0).any(axis=None)), "it has a part before the start of its archive")
        entries = [
            Entry(path_below(place, filename, path), label, pixels, None if pd.isna(offset) else (offset, size))
            for _, filename, label, pixels, offset, size in table[table.split == split].itertuples(index=False)
        ]
        require(len({entry.path for entry in entries}) == len(entries), "it lists an image twice")
    if not entries:
        raise InputError(f"{path}: lists no {split} images; write it again by `qhyvit fetch images`")
    _refuse_other_labels(dataset, path, entries)
    return entries


def _refuse_other_labels(dataset: Dataset, path: Path, entries: list[Entry]) -> None:
    for entry in entries:
        if not 0 <= entry.label < dataset.classes:
            raise InputError(
                f"{path}: label {entry.label} of {entry.path} is outside 0..{dataset.classes - 1}; write the manifest again by"
                " `qhyvit fetch images`, or correct dataset.classes"
            )


def _row(split: Split, place: Path, entry: Entry) -> tuple[Split, str, int, str, int | None, int | None]:
    offset, size = entry.part or (None, None)
    name = str(entry.path.relative_to(place))
    if CONTROLS.search(name):
        raise InputError(f"{place}: the file name {name!r} has line ends or other control characters; rename the file")
    return split, name, entry.label, pixel_hash(read_image(entry.path, entry.part)), offset, size


def _entries(dataset: Dataset) -> dict[Split, list[Entry]]:
    """List the images of the subset in both splits."""
    entries: dict[Split, list[Entry]]
    if dataset.layout == "imagenet":
        entries = {split: list(chain(*classes.values())) for split, classes in imagenet_classes(dataset).items()}
    else:
        _refuse_other_subfolders(dataset)
        entries = {split: labelled_folder.read_entries(place_of(dataset, split), dataset.classes) for split in get_args(Split)}
    counts = {split: getattr(dataset.subset, split) for split in entries}
    return {
        split: found if counts[split] is None else sample_by_class(found, counts[split], dataset.subset.seed)
        for split, found in entries.items()
    }


def imagenet_classes(dataset: Dataset) -> dict[Split, dict[str, list[Entry]]]:
    """List the images of both splits of ImageNet by their WordNet id, as `qhyvit.data.imagenet.read_classes` does.

    Raises InputError as that does, and for a class that is in one split alone: labels are ranks of WordNet ids.
    """
    classes: dict[Split, dict[str, list[Entry]]] = {
        split: read_classes(place_of(dataset, split), dataset.classes) for split in get_args(Split)
    }
    different = sorted(classes["calibration"].keys() ^ classes["evaluation"].keys())
    if different:
        raise InputError(
            f"{dataset.calibration} and {dataset.evaluation}: have images of different classes ({', '.join(different)}); add the missing"
            " images, or remove these classes"
        )
    return classes


def _refuse_other_subfolders(dataset: Dataset) -> None:
    """Raise InputError for subfolders of different names in the splits: labels are ranks of names."""
    calibration, evaluation = (set(labelled_folder.class_names(dataset.folder(split))) for split in get_args(Split))
    if calibration and evaluation and calibration != evaluation:
        different = ", ".join(sorted(calibration ^ evaluation))
        raise InputError(
            f"{dataset.calibration} and {dataset.evaluation}: subfolders of different names ({different}); each class needs one in both"
        )


def _refuse_single_image(dataset: Dataset, entries: list[tuple[Split, Entry]]) -> None:
    """Raise InputError for fewer than two evaluation images: no interval follows from one."""
    count = sum(split == "evaluation" for split, _ in entries)
    if count < 2:
        place = place_of(dataset, "evaluation")
        raise InputError(f"{place}: has too few images to evaluate ({count}), since intervals need two; add images")


def _refuse_overlap(dataset: Dataset, table: pd.DataFrame) -> None:
    calibration, evaluation = (table[table.split == split] for split in ("calibration", "evaluation"))
    both = calibration.merge(evaluation, on="pixels_sha256", suffixes=("", "_evaluation"))
    if len(both):
        first = both.iloc[0]
        raise InputError(
            f"{place_of(dataset, 'calibration') / first.filename}: also an evaluation image"
            f" ({place_of(dataset, 'evaluation') / first.filename_evaluation}); {len(both)} overlap:"
            f" remove them from one of the two {dataset.name} splits, or sample others with another dataset.subset.seed"
        )
