"""Reading of an experiment and of the files that it names."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from qhyvit.config.base import Mode, Strict
from qhyvit.config.environment import env_variables, expand_env
from qhyvit.config.experiment import EXPERIMENT, Experiment
from qhyvit.config.methods import METHODS, Method
from qhyvit.config.models import MODELS, Model
from qhyvit.errors import InputError

T = TypeVar("T")


class Config(Strict):
    """An experiment with the models and methods that it names."""

    experiment: Experiment
    models: dict[str, Model]
    methods: dict[str, Method]

    def check_mode(self, method: str, mode: Mode) -> None:
        """Raise InputError for a mode that a method does not define."""
        if mode not in self.methods[method].modes:
            known = self.experiment.methods_file
            raise InputError(
                f"{known}: method {method} has no mode {mode!r}, only {', '.join(self.methods[method].modes)}: it rounds the operands of"
                " products and says nothing of norms, activations and additions; choose another mode, or give it `output_scale`"
            )

    def configured_weights(self, model: str) -> Path:
        """The weights file of a model as the experiment states it, the same on every machine."""
        return Path(self.experiment.weights.replace("{model}", model))

    def weights_path(self, model: str) -> Path:
        """Where the weights file of a model is on this machine."""
        return expand_env(self.configured_weights(model))


def load_config(path: Path, *, allow_unset_env: bool = False) -> Config:
    """Read an experiment and the files that it names.

    Raises InputError with file, key, value and mend on any fault. A variable that is not set in the environment is one, unless the
    experiment is read ``allow_unset_env`` it alone.
    """
    experiment: Experiment = _typed(path, _read_experiment(path), EXPERIMENT)
    if not allow_unset_env:
        _refuse_unset_variables(path, experiment)
    models: dict[str, Model] = read_yaml(experiment.models_file, MODELS)
    methods: dict[str, Method] = read_yaml(experiment.methods_file, METHODS)
    return Config(
        experiment=experiment,
        models=_named(path, "model", experiment.models, models, experiment.models_file),
        methods=_named(path, "method", experiment.methods, methods, experiment.methods_file),
    )


def read_yaml(path: Path, schema: TypeAdapter[T]) -> T:
    """The content of a YAML file, as ``schema`` types it. Raises InputError for a file that is missing, no YAML, or at fault."""
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


def _read_experiment(path: Path, derived: tuple[Path, ...] = ()) -> Any:
    """An experiment that names another as its ``base``, a path, takes from there all keys that it does not have itself."""
    if path in derived:
        raise InputError(f"{path}: is its own base, by way of {derived[-1]}; give one of them another base or none")
    content = _parsed(path)
    if not isinstance(content, dict) or "base" not in content:
        return content
    own = {key: value for key, value in content.items() if key != "base"}
    base = _read_experiment(Path(content["base"]), (*derived, path))
    return base | own if isinstance(base, dict) else base


def _parsed(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a configuration file") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error


def _typed(path: Path, content: Any, schema: TypeAdapter[T]) -> T:
    try:
        return schema.validate_python(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']} (found {fault['input']!r})" for fault in error.errors())
        raise InputError(f"{path}: {faults}") from error


def nearest_names(name: str, known: Iterable[str]) -> str:
    """End of a message on an unknown name: the known names that are nearest to it, or all if none is near."""
    names = list(known)
    nearest = get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(nearest)}?" if nearest else f"; known: {', '.join(names)}"


def _named(path: Path, kind: str, names: list[str], known: dict[str, T], source: Path) -> dict[str, T]:
    for name in names:
        if name not in known:
            raise InputError(f"{path}: unknown {kind} {name!r}; {source} knows {', '.join(known)}")
    return {name: known[name] for name in names}
