"""Types that several sections of the configuration share."""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from qhyvit.config.environment import env_variables, is_expandable
from qhyvit.errors import InputError

Granularity = Literal["per_tensor", "per_channel"]
Scheme = Literal["symmetric", "asymmetric"]
ZeroPoint = Literal["widened", "saturated"]  # of a range on one side of 0
Mode = Literal["partial", "full"]
Split = Literal["calibration", "evaluation"]
Device = Literal["auto", "cpu", "cuda"]
BitWidth = Annotated[str, Field(pattern=r"^w[2-8]a[2-8]$", description="bits of weights and activations, as in w8a8")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
DATASET_NAME_PATTERN = r"^[A-Za-z0-9_-]+$"
MethodName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]

FOLDER_PATTERN = r"^[\w./][\w./ -]*$"  # Snakemake reads braces as wildcards, and a leading hyphen would be an option

LARGEST_SEED = 2**63 - 1  # of 64 bits with a sign
LARGEST_PANDAS_SEED = 2**32 - 1

# Limits of sizes: larger ones raise no error of their own, but exhaust the memory or take days.
LARGEST_SIDE = 2048  # pixels; those of timm's networks are about 1,000 or fewer
LARGEST_BATCH = 4096  # images
LARGEST_SHARDS = 2000  # batches of ImageNet's 50,000 validation images

NO_DATASETS = ("benchmarks", "cifar10-full", "cifar10-sample", "decoded", "training")  # other folders of results

LONGEST_NAME = 255  # bytes of the name of a file


def _check_folder(path: Path) -> Path:
    if not re.fullmatch(FOLDER_PATTERN, str(path)):
        raise ValueError(f"{str(path)!r} is no plain path; use letters, digits, spaces and . _ - / alone, no hyphen first")
    return check_path(path)


def _check_plain(path: Path) -> Path:
    if variables := env_variables(path):
        raise ValueError(f"{path}: the variable {variables[0]} is replaced only in dataset and weights; write the path in full")
    return check_path(path)


def check_variables(path: Path) -> Path:
    """Return a path that may have environment variables. Raises ValueError for another $, and as `check_path` does."""
    if not is_expandable(path):
        raise ValueError(f"{path}: a $ begins the name of an environment variable, as in ${{IMAGENET}}/train; correct the name")
    return check_path(path)


def check_path(path: Path) -> Path:
    """Return a path that a file may have. Raises ValueError for any other, and for a home folder, which only shells replace."""
    if not str(path).isprintable() or any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise ValueError("a path has a line end or another character that is not printed, or a name that is too long; correct it")
    if str(path).startswith("~"):
        raise ValueError(f"{path}: ~ is not replaced by a home folder; write the path in full")
    return path


def check_dataset_name(name: str) -> str:
    """Return the name of an image set, which is a folder of results. Raises ValueError for any other text."""
    if not re.fullmatch(DATASET_NAME_PATTERN, name) or name in NO_DATASETS:
        raise ValueError(
            f"{name!r}: an image set is named by letters, digits, _ and - alone, and not {' or '.join(NO_DATASETS)}; give another name"
        )
    return name


def _check_path_text(text: str) -> str:
    check_variables(Path(text))
    return text


DatasetName = Annotated[str, AfterValidator(check_dataset_name), Field(json_schema_extra={"pattern": DATASET_NAME_PATTERN})]
PlainPath = Annotated[Path, AfterValidator(_check_plain)]
VariablePath = Annotated[Path, AfterValidator(check_variables)]
PathText = Annotated[str, AfterValidator(_check_path_text)]
Folder = Annotated[Path, AfterValidator(_check_folder), Field(json_schema_extra={"pattern": FOLDER_PATTERN})]


class Strict(BaseModel):
    """Immutable section that refuses unknown keys, so that a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parse_bits(bits: str) -> tuple[int, int]:
    """Bits of weights and of activations: "w8a6" or "W8A6" is (8, 6). Raises InputError for any other form."""
    match = re.fullmatch(r"w([2-8])a([2-8])", str(bits).lower())  # of callers without type checks: 8
    if match is None:
        raise InputError(f"bit-width {bits!r}: state 2 to 8 bits of weights and of activations, as in w8a8")
    return int(match[1]), int(match[2])


def nearest_names(name: str, known: Iterable[str], others: Iterable[str] = ()) -> str:
    """End of a message on an unknown name: the ``known`` names and ``others`` nearest to it, or all ``known`` ones if none is near."""
    names = list(known)
    nearest = get_close_matches(str(name), dict.fromkeys([*names, *others]), n=3)
    if nearest:
        return f"did you mean {' or '.join(nearest)}?"
    return f"choose one of {', '.join(names)}." if names else "correct the name."
