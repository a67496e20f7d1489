"""The published numbers, as reports/paper holds them."""

from collections.abc import Hashable
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qhyvit.config.base import Mode, Name
from qhyvit.errors import InputError
from qhyvit.reporting.runs import FP32

CELL = ["model", "mode", "method", "w_bits", "a_bits"]
# The FP32 column of Table IV is not known. Its last cell is one of Table II, so it shares that table's.
FP32_OF = {"table_iv": "table_ii"}


class _Number(BaseModel):
    """Where a number stands and where it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name
    method: str
    mode: Mode | None
    w_bits: int | None = Field(ge=2, le=32)
    a_bits: int | None = Field(ge=2, le=32)
    source: Literal["readme", "note", "hyq", "abstract", "derived"]
    trust: Literal["certain", "high", "medium"]


class Accuracy(_Number):
    """A cell of a table of accuracies."""

    top1: float = Field(ge=0, le=100, description="ImageNet-1k, in percent")


class Mean(_Number):
    """A mean over networks: points of accuracy, or seconds."""

    model: Literal["mean"]
    value: float


def read_accuracies(path: Path) -> pd.DataFrame:
    """A published table of accuracies, a row a cell. Raises InputError for a file that is missing or at fault."""
    return _read(path, Accuracy)


def read_means(path: Path) -> pd.DataFrame:
    """Published means, a row each. Raises InputError for a file that is missing or at fault."""
    return _read(path, Mean)


def published(folder: Path, name: str) -> pd.DataFrame:
    """The quantized cells of a table with their FP32 accuracy and drop: columns `CELL`, top1, top1_fp32, drop, source and trust.

    The FP32 accuracy is NaN where it is not known. Raises InputError as `read_accuracies` does.
    """
    cells = read_accuracies(folder / f"{name}.csv")
    references = read_accuracies(folder / f"{FP32_OF.get(name, name)}.csv")
    fp32 = references[references.method == FP32].set_index("model").top1
    quantized = cells[cells.method != FP32].assign(top1_fp32=lambda rows: rows.model.map(fp32))
    return quantized.assign(drop=quantized.top1_fp32 - quantized.top1)


def _read(path: Path, kind: type[_Number]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the folder of the published numbers") from error
    except ValueError as error:
        raise InputError(f"{path}: not CSV ({' '.join(str(error).split())})") from error
    numbers = [_checked(row, kind, where=f"{path}: line {line}") for line, row in enumerate(rows, start=2)]
    table = pd.DataFrame([number.model_dump() for number in numbers], columns=list(kind.model_fields))
    if table.duplicated(CELL).any():
        line = table.index[table.duplicated(CELL)][0] + 2
        raise InputError(f"{path}: line {line}: this cell is there before; remove one of the two")
    return table


def _checked(row: dict[Hashable, str], kind: type[_Number], where: str) -> _Number:
    try:
        return kind.model_validate({column: text or None for column, text in row.items()})
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"{where}: {fault['loc'][0]}: {fault['msg']}; correct that cell") from error
