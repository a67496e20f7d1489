"""Reading of an experiment and of the files that it names."""

import os
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from qhyvit.config.base import Mode, Strict, check_path
from qhyvit.config.environment import env_variables, expand_env
from qhyvit.config.experiment import EXPERIMENT, Experiment
from qhyvit.config.folders import check_folders
from qhyvit.config.methods import METHODS, Method, find_method
from qhyvit.config.models import MODELS, Model, find_model, require_rgb
from qhyvit.config.yaml_loader import parse_yaml
from qhyvit.errors import InputError
from qhyvit.own_files import require_regular

T = TypeVar("T")


class _Shown(Repr):
    """Short form of a value in messages: aliases of YAML can make one too large to be written out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 200, 200

    def repr_int(self, x: int, level: int) -> str:
        return f"an integer of {x.bit_length()} bits" if x.bit_length() > 256 else repr(x)


_shown = _Shown().repr


class Config(Strict):
    """Experiment with the models and methods that it names."""

    experiment: Experiment
    models: dict[str, Model]
    methods: dict[str, Method]

    def check_mode(self, method: str, mode: Mode) -> None:
        """Raise InputError for a mode that a method does not define."""
        if mode not in self.methods[method].modes:
            known = self.experiment.methods_file
            raise InputError(
                f"{known}: method {method} has no mode {mode!r}, only {', '.join(self.methods[method].modes)}: it does not say how to"
                " quantize softmax, norms, activations and additions; choose another mode, or give it `output_scale`"
            )

    def configured_weights(self, model: str) -> Path:
        """Path of the weights of a model as the experiment states it, equal on every machine."""
        return Path(self.experiment.weights.replace("{model}", model))

    def weights_path(self, model: str) -> Path:
        """Path of the weights of a model on this machine."""
        return expand_env(self.configured_weights(model))


def load_config(path: Path, *, allow_unset_env: bool = False) -> Config:
    """Read an experiment and the files that it names.

    Raises InputError, with file, key, value and fix, for any fault; an environment variable that is not set is one unless
    ``allow_unset_env``.
    """
    experiment = _typed(path, _read_experiment(path), EXPERIMENT)
    check_folders(path, experiment)
    if not allow_unset_env:
        _refuse_unset_variables(path, experiment)
    models, methods = read_yaml(experiment.models_file, MODELS), read_yaml(experiment.methods_file, METHODS)
    try:
        config = Config(
            experiment=experiment,
            models={name: _find_rgb_model(name, models, experiment.models_file) for name in experiment.models},
            methods={name: find_method(name, methods, experiment.methods_file) for name in experiment.methods},
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not any(set(method.modes) & set(experiment.modes) for method in config.methods.values()):
        raise InputError(f"{path}: modes: no method of `methods` has mode {experiment.modes[0]}; add partial, or a method that has it")
    return config


def _find_rgb_model(name: str, known: dict[str, Model], source: Path) -> Model:
    model = find_model(name, known, source)
    try:
        require_rgb(model.arguments)
    except InputError as error:
        raise InputError(f"{source}: {name}: {error}") from error
    return model


def read_yaml(path: Path, schema: TypeAdapter[T]) -> T:
    """Read a YAML file as ``schema`` types it. Raises InputError for a file that is missing, no YAML, or at fault."""
    return _typed(path, _parsed(path), schema)


def _refuse_unset_variables(source: Path, experiment: Experiment) -> None:
    dataset = experiment.dataset
    stated = {
        "dataset.calibration": dataset.calibration,
        "dataset.evaluation": dataset.evaluation,
        "weights": Path(experiment.weights),
    }
    for key, path in stated.items():
        for name in env_variables(path):
            if not os.environ.get(name):
                raise InputError(
                    f"{source}: {key}: {path}: {name} is not set in the environment; say which folder it is:"
                    f" `make reproduce CONFIG={source} {name}=/path`"
                )


def _read_experiment(path: Path) -> Any:
    content = _read_with_base(path)
    if not isinstance(content, dict) or "reports" in content:
        return content
    if not path.stem.strip("."):
        raise InputError(f"{path}: reports: missing, and the name of the file gives none; rename the file or add this key")
    return {"reports": f"reports/{path.stem}"} | content


def _read_with_base(path: Path, derived: tuple[Path, ...] = ()) -> Any:
    """Read an experiment; keys that it lacks come from its ``base``, another file, except `reports`, which it never shares."""
    if path in derived:
        raise InputError(f"{path}: is its own base, by way of {derived[-1]}; give one of them another base or none")
    content = _parsed(path)
    if not isinstance(content, dict) or "base" not in content:
        return content
    own = {key: value for key, value in content.items() if key != "base"}
    if not isinstance(content["base"], str):
        raise InputError(
            f"{path}: base: {_shown(content['base'])} is not the path of a configuration file; name one file or remove the key"
        )
    try:
        base = _read_with_base(check_path(Path(content["base"])), (*derived, path))
    except ValueError as error:
        raise InputError(f"{path}: base: {error}") from error
    return {key: value for key, value in base.items() if key != "reports"} | own if isinstance(base, dict) else base


def _parsed(path: Path) -> Any:
    require_regular(path)
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a configuration file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error}); save it in this encoding") from error
    except Exception as error:  # of any kind: PyYAML converts dates and numbers by functions that raise their own
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); correct its syntax") from error


def _typed(path: Path, content: Any, schema: TypeAdapter[T]) -> T:
    try:
        return schema.validate_python(content)
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(_fault(fault, content) for fault in error.errors())}") from error


def _fault(error: ErrorDetails, content: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            fault = "unknown key; correct its spelling or remove it"
        case "missing":
            fault = "missing; add this key"
        case "union_tag_not_found":
            fault = "algorithm: missing; add this key"
        case "union_tag_invalid":
            fault = f"algorithm: unknown {error['ctx']['tag']!r}; choose one of {error['ctx']['expected_tags']}"
        case "value_error":
            fault = str(error["ctx"]["error"])
        case _:
            fault = f"{error['msg']} (found {_shown(error['input'])}); correct it"
    return ": ".join(filter(None, (".".join(_keys(error, content)), fault)))


def _keys(error: ErrorDetails, content: Any) -> list[str]:
    """Return the keys of the file that lead to a fault. pydantic's own path also names the members of unions."""
    keys = []
    for part in error["loc"]:
        if part in (content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()):
            keys.append(str(part))
            content = content[part]
    return [*keys, str(error["loc"][-1])] if error["type"] == "missing" else keys
