"""Stratified subset of ImageNet in a folder of its own: original files, with the label and WordNet id of each in `labels.csv`.

The images are those that an experiment with the same section `dataset.subset` draws, in the same order.
"""

import csv
from pathlib import Path
from typing import Any

import yaml

from qhyvit.config.base import Split
from qhyvit.config.dataset import Dataset
from qhyvit.data.dvc import dvc_file, how_to_restore
from qhyvit.data.entries import Entry, read_bytes
from qhyvit.data.labelled_folder import LABELS
from qhyvit.data.manifest import check_images, imagenet_classes
from qhyvit.data.sampling import sample_by_class
from qhyvit.data.stamps import place_of
from qhyvit.errors import InputError
from qhyvit.files import atomic_folder
from qhyvit.own_files import written_by

RECORD = "subset.yaml"
COLUMNS = ("filename", "label", "wordnet_id")


def write_subset(dataset: Dataset, folder: Path) -> None:
    """Write the images of ``dataset.subset`` to the folders ``calibration`` and ``evaluation`` of ``folder``, unless they are there.

    Raises InputError if ``folder`` is there or tracked with other settings, for a class that has too few images or is in one split
    alone, and for any fault of a drawn image.
    """
    record = {"classes": dataset.classes} | dataset.subset.model_dump()
    if _exists(folder, record):
        return
    classes = imagenet_classes(dataset)
    drawn = {split: _draw(dataset, split, of_split) for split, of_split in classes.items()}
    check_images(dataset, [(split, entry) for split, entries in drawn.items() for entry in entries])
    with atomic_folder(folder) as temporary:
        for split, entries in drawn.items():
            _write_split(temporary / split, entries, list(classes[split]))
        (temporary / RECORD).write_text(yaml.safe_dump(record, sort_keys=False))


def _exists(folder: Path, record: dict[str, Any]) -> bool:
    """Tell if the subset with these settings is there."""
    if not folder.exists():
        if dvc_file(folder).exists():
            raise InputError(f"{folder}: tracked by {dvc_file(folder)}, but not here; {how_to_restore(folder)}, or give another name")
        return False
    with written_by(folder / RECORD, "`qhyvit fetch subset`"):
        found = dict(yaml.safe_load((folder / RECORD).read_text()))
    different = ", ".join(f"{key} {found.get(key)} instead of {value}" for key, value in record.items() if found.get(key) != value)
    if different:
        raise InputError(f"{folder}: exists with {different}; give this subset another name, or remove {folder} and {dvc_file(folder)}")
    return True


def _draw(dataset: Dataset, split: Split, classes: dict[str, list[Entry]]) -> list[Entry]:
    count = getattr(dataset.subset, split)
    fewest = min(classes, key=lambda wordnet_id: len(classes[wordnet_id]))
    if len(classes[fewest]) < count:
        raise InputError(
            f"{place_of(dataset, split)}: class {fewest} has {len(classes[fewest])} images, {count} are asked for; add images or ask for"
            f" fewer {split} images"
        )
    return sample_by_class([entry for entries in classes.values() for entry in entries], count, dataset.subset.seed)


def _write_split(folder: Path, entries: list[Entry], wordnet_ids: list[str]) -> None:
    rows = [(f"{wordnet_ids[entry.label]}/{entry.path.name}", entry.label, wordnet_ids[entry.label]) for entry in entries]
    for (name, _, _), entry in zip(rows, entries, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(read_bytes(entry))
    with (folder / LABELS).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
