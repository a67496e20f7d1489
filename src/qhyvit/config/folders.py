"""Folders that an experiment writes to: apart from one another, from the project and from the images."""

import os
from pathlib import Path

from qhyvit.config.environment import expand_env
from qhyvit.config.experiment import Experiment
from qhyvit.errors import InputError

PROJECT = (
    *("config", "src", "workflow", "data", "imagenet", "dvc-store", "tests", "resources", "profiles", "benchmarks", "docs", "logs"),
    *("reports/benchmarks", ".ci", ".dvc", ".git", ".snakemake"),
)


def check_folders(source: Path, experiment: Experiment) -> None:
    """Raise InputError for a folder that an experiment of the file ``source`` may not write to: other files there would be replaced."""
    folders = {key: getattr(experiment, key) for key in ("results", "decoded", "reports")}
    for key, folder in folders.items():
        if fault := _fault(folder, experiment):
            raise _refusal(source, key, folder, fault)
    for key, other in (("reports", "results"), ("reports", "decoded")):
        if _contains(folders[key], folders[other]) or _contains(folders[other], folders[key]):
            raise _refusal(source, key, folders[key], f"is, contains or lies in {other}, {folders[other]}")
    if _contains(experiment.decoded, experiment.results):
        raise _refusal(source, "decoded", experiment.decoded, f"is or contains results, {experiment.results}")


def _fault(folder: Path, experiment: Experiment) -> str | None:
    if _contains(folder, Path()):
        return "is or contains the folder of the run"
    images = {f"dataset.{key}": expand_env(getattr(experiment.dataset, key)) for key in ("calibration", "evaluation")}
    for name, place in ({name: Path(name) for name in PROJECT} | images).items():
        if _contains(place, folder) and not _contains(place, Path()):  # images next to the configuration leave no other place
            return f"is or lies in {name}, which holds other files"
    return None


def _refusal(source: Path, key: str, folder: Path, fault: str) -> InputError:
    return InputError(f"{source}: {key}: {folder} {fault}; state another folder, of its own")


def _contains(folder: Path, inner: Path) -> bool:
    """Tell if ``inner`` is ``folder`` or lies in it. Links are not followed: `results` may be one to another disk."""
    return _absolute(inner).is_relative_to(_absolute(folder))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # `resolve` would follow links
