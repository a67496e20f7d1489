"""Check of the paths of a command before its work: what it reads is a file or a folder, and what it writes is no input and no other output.

Every command gets it from `qhyvit.cli.lazy`. A parameter that holds a path is an input unless it has the mark `Written`.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from typer.models import ArgumentInfo, ParameterInfo

from qhyvit.cli.options import Written
from qhyvit.config.loading import load_config
from qhyvit.data.labelled_folder import LABELS
from qhyvit.deploy.weights_file import require_own_weights
from qhyvit.errors import InputError
from qhyvit.files import require_writable

Command = Callable[..., None]


class Named(NamedTuple):
    """Path with the name of what it was given for."""

    name: str
    path: Path


class Marks(NamedTuple):
    """Option or argument of a parameter, and its mark if the command writes its path."""

    info: ParameterInfo
    written: Written | None


def with_checked_paths(function: Command) -> Command:
    """Return the function of a command, which raises InputError for paths that it cannot read or write before it does anything else."""

    @wraps(function)
    def run(**arguments: Any) -> None:
        check_paths(marks_of(function), arguments)
        function(**arguments)

    return run


def marks_of(function: Command) -> dict[str, Marks]:
    """Return the marks of each parameter of a command."""
    annotations = {name: hint for name, hint in get_type_hints(function, include_extras=True).items() if name != "return"}
    return {name: Marks(*(_first(get_args(hint)[1:], kind) for kind in (ParameterInfo, Written))) for name, hint in annotations.items()}


def check_paths(marks: Mapping[str, Marks], arguments: Mapping[str, Any]) -> None:
    """Raise InputError for an input that is no file or folder, and for an output that cannot be written or that is another path too."""
    read: list[Named] = []
    written: list[Named] = []
    for parameter, (info, mark) in marks.items():
        name, paths = _name(parameter, info), _paths(arguments.get(parameter), info)
        if mark is None or arguments.get(mark.read_with):
            read += [Named(name, path) for path in paths]
            continue
        files = [Named(name, file) for path in paths for file in _files(path, mark)]
        written += files
        for file in files if not mark.folder else ():
            require_writable(file.path)
    _require_files(read)
    if written:
        makes_weights = any(mark.weights for _, mark in marks.values() if mark)
        _refuse_equal(written, [*read, *_files_of_experiment(arguments.get("config"), makes_weights)])


def _first(marks: Iterable[Any], kind: type) -> Any:
    return next((mark for mark in marks if isinstance(mark, kind)), None)


def _name(parameter: str, info: ParameterInfo) -> str:
    if isinstance(info, ArgumentInfo):
        return parameter.upper()
    return info.default if isinstance(info.default, str) else f"--{parameter}"


def _paths(value: Any, info: ParameterInfo) -> list[Path]:
    """Return the paths in a value: those of type Path, and those in texts of the form KIND=PATH."""
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    pairs = "=" in (info.metavar or "")
    return [Path(part.partition("=")[2]) if pairs else part for part in values if pairs or isinstance(part, Path)]


def _files(path: Path, mark: Written) -> list[Path]:
    """List the files that are written for a path. Raises InputError for weights of OpenVINO that do not belong to its file."""
    files = [Path(f"{path}{end}") for end in mark.ends]
    if path.suffix != ".xml":
        return files
    require_own_weights(path)
    return [*files, path.with_suffix(".bin")]


def _require_files(paths: Iterable[Named]) -> None:
    for name, path in paths:
        with suppress(OSError):  # what is missing is named by who reads it
            if not (path.is_file() or path.is_dir()) and path.exists():
                raise InputError(f"{path}: {name} is no regular file; give the path of one")


def _files_of_experiment(config: Path | None, makes_weights: bool) -> list[Named]:
    """List the files that commands read because the experiment names them."""
    if config is None:
        return []
    settings = load_config(config, allow_unset_env=True)
    experiment, dataset = settings.experiment, settings.experiment.dataset
    weights = [] if makes_weights else [Named(f"the weights of {model}", settings.weights_path(model)) for model in settings.models]
    return [
        *weights,
        Named("`models_file` of the experiment", experiment.models_file),
        Named("`methods_file` of the experiment", experiment.methods_file),
        Named("the record of the weights", experiment.weights_lock),
        *(Named("the labels of the experiment", dataset.folder(split) / LABELS) for split in ("calibration", "evaluation")),
    ]


def _refuse_equal(written: Iterable[Named], read: Iterable[Named]) -> None:
    """Raise InputError for an output that is also an input or another output, under any name."""
    known = {os.path.realpath(path): name for name, path in read}
    for name, path in written:
        place = os.path.realpath(path)
        if other := known.get(place):
            said = f"{name} is given twice" if other == name else f"{name} is also {other}"
            raise InputError(f"{path}: {said}; give another path")
        known[place] = name
