"""Models file: the networks that experiments name."""

from importlib.util import find_spec
from pathlib import Path

from pydantic import Field, TypeAdapter

from qhyvit.config.base import Name, Strict, nearest_names
from qhyvit.errors import InputError
from qhyvit.torchvision_compat import ensure_torchvision


class Published(Strict):
    """Published figures of a network."""

    top1: float | None = Field(gt=0, lt=100, description="top-1 on ImageNet-1k, in percent")
    parameters: float | None = Field(gt=0, description="number of parameters, in millions")


class HubSource(Strict):
    """Repository on the Hugging Face hub that holds the weights as model.safetensors."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")


class Model(Strict):
    """Network of the zoo."""

    family: str
    constructor: Name = Field(description="name in timm's registry")
    module: str | None = Field(default=None, description="module that registers the constructor, if timm itself does not")
    arguments: dict[str, int | float | str | bool | dict[str, str]] = Field(
        default_factory=dict, description="arguments of the constructor"
    )
    published: Published | None = None
    source: HubSource | None = Field(default=None, description="download of missing weights that DVC does not track")


MODELS = TypeAdapter(dict[Name, Model])


def find_model(name: str, known: dict[str, Model], source: Path) -> Model:
    """Return a model of the models file ``source``, which holds the ``known`` ones, or else the model of that name in timm.

    Raises InputError for a name that neither has, and for an entry whose module is not installed.
    """
    if name not in known:
        return _timm_model(name, known, source)
    module = known[name].module
    if module and not _is_installed(module):
        raise InputError(
            f"{source}: {name}: no module named {module!r}; correct the name, install the module, or add its folder to PYTHONPATH"
        )
    return known[name]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that the module is in
        return False


def _timm_model(name: str, known: dict[str, Model], source: Path) -> Model:
    ensure_torchvision()
    import timm  # not at the top: it takes seconds, and most experiments name no such model

    if not timm.is_model(name):
        raise InputError(
            f"unknown model {name!r}; neither {source} nor timm has it: {nearest_names(name, known, timm.list_models())}"
            f" To add a network of your own, add an entry to {source} with its `constructor` and the `module` that registers it in timm"
        )
    return Model(family=timm.models.model_entrypoint(name).__module__.rpartition(".")[2], constructor=name)
