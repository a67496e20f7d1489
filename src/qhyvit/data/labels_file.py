"""File `labels.csv` next to images: the name and label of each, in any order."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qhyvit.errors import InputError

COLUMNS = "filename", "label"
WHOLE_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class LabelledFile:
    """Row of the file: a name, a label, and the number of the row's last line in the file, from 1 for the header."""

    name: str
    label: int
    line: int


def read_labels(source: Path, classes: int) -> list[LabelledFile]:
    """Read the rows, sorted by name.

    Raises InputError for a file without the two columns, a row without one of them, a file name that is listed twice, and a label that is
    no whole number in [0, ``classes``).
    """
    rows: dict[str, LabelledFile] = {}
    for name, label, line in _read(source):
        if name in rows:
            raise InputError(f"{source}: {name!r} is listed twice, in lines {rows[name].line} and {line}; keep one of them")
        rows[name] = LabelledFile(name, _checked(label, f"{source}: label {label!r} of {name} (line {line})", classes), line)
    return [rows[name] for name in sorted(rows)]


def _read(source: Path) -> Iterator[tuple[str, str, int]]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
                raise ValueError(f"there is no column {' nor '.join(missing)}")
            for row in reader:
                if row["filename"] is None or row["label"] is None:
                    raise ValueError(f"line {reader.line_num} has fewer values than the header has columns")
                yield row["filename"], row["label"], reader.line_num
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{source}: not a CSV file with the columns filename and label ({error}); write it so") from error


def _checked(label: str, described: str, classes: int) -> int:
    if not WHOLE_NUMBER.fullmatch(label):
        raise InputError(f"{described} is not a whole number; give one of 0..{classes - 1}")
    if not 0 <= int(label) < classes:
        raise InputError(f"{described} is outside 0..{classes - 1}; correct it or dataset.classes")
    return int(label)
