"""File `labels.csv` next to images: the name and label of each, in any order."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from qhyvit.errors import InputError
from qhyvit.own_files import require_regular

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

    Raises InputError for a file without the two columns, a row without one of them, a file name that is listed twice, however it is
    written (``./a.png``), and a label that is no whole number in [0, ``classes``).
    """
    require_regular(source)
    rows: dict[Path, LabelledFile] = {}
    for name, label, line in _read(source):
        path = Path(name)
        if path in rows:
            raise InputError(f"{source}: {name!r} is listed twice, in lines {rows[path].line} and {line}; keep one of them")
        rows[path] = LabelledFile(name, _checked(label, f"{source}: label {label!r} of {name} (line {line})", classes), line)
    return sorted(rows.values(), key=attrgetter("name"))


def _read(source: Path) -> Iterator[tuple[str, str, int]]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(list(reader.fieldnames or ()))
            for row in reader:
                _require_values(row, reader.line_num)
                yield row["filename"], row["label"], reader.line_num
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{source}: not a CSV file with the columns filename and label ({error}); write it so") from error


def _require_columns(header: list[str]) -> None:
    """Raise ValueError unless each column is there once."""
    if missing := [column for column in COLUMNS if column not in header]:
        raise ValueError(f"there is no column {' nor '.join(missing)}")
    if doubled := [column for column in COLUMNS if header.count(column) > 1]:
        raise ValueError(f"there are two columns {' and '.join(doubled)}")


def _require_values(row: dict[str | None, Any], line: int) -> None:
    """Raise ValueError for a row with fewer or more values than columns, or without a name."""
    if row["filename"] is None or row["label"] is None:
        raise ValueError(f"line {line} has fewer values than the header has columns")
    if any(row.get(None, ())):
        raise ValueError(f"line {line} has more values than the header has columns")
    if not row["filename"]:
        raise ValueError(f"line {line} has no file name")


def _checked(label: str, described: str, classes: int) -> int:
    if not WHOLE_NUMBER.fullmatch(label):
        raise InputError(f"{described} is not a whole number; give one of 0..{classes - 1}")
    if not 0 <= int(label) < classes:
        raise InputError(f"{described} is outside 0..{classes - 1}; correct it or dataset.classes")
    return int(label)
