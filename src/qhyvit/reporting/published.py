"""Published numbers, as resources/published holds them."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qhyvit.config.base import Mode, Name
from qhyvit.errors import InputError
from qhyvit.reporting.catalog import FP32
from qhyvit.reporting.runs import CELL


class _Number(BaseModel):
    """Cell of a published number, and where it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name
    method: str
    mode: Mode | None
    w_bits: int | None = Field(ge=2, le=32)
    a_bits: int | None = Field(ge=2, le=32)
    source: Literal["readme", "note", "hyq", "abstract", "derived"]
    trust: Literal["certain", "high", "medium"]


class Accuracy(_Number):
    """Cell of a table of accuracies."""

    top1: float = Field(ge=0, le=100, description="ImageNet-1k, in percent")


class Mean(_Number):
    """Mean over networks: points of accuracy, or seconds."""

    model: Literal["mean"]
    value: float


def read_accuracies(path: Path) -> pd.DataFrame:
    """Read a published table of accuracies, one row per cell. Raises InputError for a file that is missing or invalid."""
    return _read(path, Accuracy)


def read_means(path: Path) -> pd.DataFrame:
    """Read published means, one row each. Raises InputError for a file that is missing or invalid."""
    return _read(path, Mean)


def read_cells(path: Path, fp32: Path | None = None) -> pd.DataFrame:
    """Read the quantized cells of a table with their FP32 accuracy and drop: `CELL`, top1, top1_fp32, drop, source and trust.

    ``fp32`` is the table of the FP32 accuracies, by default the same; they are NaN where they are not known. Raises InputError for a file
    that is missing or invalid.
    """
    cells, references = read_accuracies(path), read_accuracies(fp32 or path)
    of_model = references[references.method == FP32].set_index("model").top1
    quantized = cells[cells.method != FP32].assign(top1_fp32=lambda rows: rows.model.map(of_model))
    return quantized.assign(drop=quantized.top1_fp32 - quantized.top1)


def under_our_names(published: pd.DataFrame, published_as: Mapping[str, str]) -> pd.DataFrame:
    """Return published rows under the names of our methods, one per method that is ``published_as`` theirs; others are left out."""
    names = pd.DataFrame({"ours": list(published_as), "method": list(published_as.values())}, dtype=object)
    return published.merge(names, on="method").drop(columns="method").rename(columns={"ours": "method"})


def _read(path: Path, kind: type[_Number]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a file of resources/published") from error
    except ValueError as error:
        raise InputError(f"{path}: not CSV ({' '.join(str(error).split())}); give a file of resources/published") from error
    numbers = [_checked(row, kind, where=f"{path}: line {line}") for line, row in enumerate(rows, start=2)]
    table = pd.DataFrame([number.model_dump() for number in numbers], columns=list(kind.model_fields))
    if table.duplicated(CELL).any():
        line = table.index[table.duplicated(CELL)][0] + 2
        raise InputError(f"{path}: line {line}: this cell is there twice; remove one of the two")
    return table


def _checked(row: dict[Hashable, str], kind: type[_Number], where: str) -> _Number:
    try:
        return kind.model_validate({column: text or None for column, text in row.items()})
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"{where}: {fault['loc'][0]}: {fault['msg']}; correct that cell") from error
