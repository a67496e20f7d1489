"""Models file: the networks that experiments name."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictFloat, TypeAdapter

from qhyvit.config.base import Name, Strict, nearest_names
from qhyvit.config.own_modules import require_registration
from qhyvit.errors import InputError
from qhyvit.torchvision_compat import ensure_torchvision

CONSTRUCTOR_PATTERN = r"^\w+(\.\w+)?$"  # with the tag of its published weights behind the point
ConstructorName = Annotated[str, Field(pattern=CONSTRUCTOR_PATTERN)]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
WEIGHTS_ARGUMENTS = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_filter_fn", "pretrained_strict"}
OVERLAY, OVERLAY_KEYS = "pretrained_cfg_overlay", {"crop_mode", "interpolation"}


def _check_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError for arguments by which timm would load other weights than those whose hash is locked."""
    overlay = arguments.get(OVERLAY, {})
    others = [f"{OVERLAY}.{key}" for key in overlay if key not in OVERLAY_KEYS] if isinstance(overlay, dict) else [OVERLAY]
    if refused := [*sorted(WEIGHTS_ARGUMENTS & arguments.keys()), *others]:
        raise ValueError(f"{', '.join(refused)}: not allowed, as it may load weights; remove it, and state `weights` in the experiment")
    return arguments


Arguments = Annotated[dict[str, int | float | str | bool | dict[str, str]], AfterValidator(_check_arguments)]


class Published(Strict):
    """Published figures of a network."""

    top1: StrictFloat | None = Field(gt=0, lt=100, description="top-1 on ImageNet-1k, in percent")
    parameters: StrictFloat | None = Field(gt=0, description="number of parameters, in millions")


class HubSource(Strict):
    """Repository on the Hugging Face hub that holds the weights as model.safetensors."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")


class Model(Strict):
    """Network that experiments can name: a constructor in timm's registry with its arguments."""

    family: str
    constructor: ConstructorName = Field(description="name in timm's registry")
    module: ModuleName | None = Field(default=None, description="module that registers the constructor, if timm itself does not")
    arguments: Arguments = Field(default_factory=dict, description="arguments of the constructor, none of which may load weights")
    published: Published | None = None
    source: HubSource | None = Field(default=None, description="download of missing weights that DVC does not track")


OF_NETWORK = {"constructor", "module", "arguments"}  # keys of a model by which its outputs differ for equal weights


def _check_names(models: dict[str, Model]) -> dict[str, Model]:
    if "mean" in models:
        raise ValueError("mean: tables have this name for means over models; give the model another name")
    return models


MODELS: TypeAdapter[dict[str, Model]] = TypeAdapter(Annotated[dict[Name, Model], AfterValidator(_check_names)])


def require_rgb(arguments: dict[str, Any]) -> None:
    """Raise InputError for constructor ``arguments`` of a network whose images are not of red, green and blue, as those of experiments."""
    channels = arguments.get("in_chans", 3)
    if channels != 3:
        raise InputError(f"arguments.in_chans: {channels}: images of an experiment have 3 channels, red, green and blue; remove it")


def find_model(name: str, known: dict[str, Model], source: Path) -> Model:
    """Return a model of the models file ``source``, which holds the ``known`` ones, or else the model of that name in timm.

    Raises InputError for a name that neither has, and for an entry whose module is missing or registers no network.
    """
    if name not in known:
        return _timm_model(name, known, source)
    module = known[name].module
    try:
        if module:
            require_registration(module)
    except InputError as error:
        raise InputError(f"{source}: {name}: {error}") from error
    return known[name]


def _timm_model(name: str, known: dict[str, Model], source: Path) -> Model:
    ensure_torchvision()
    import timm  # not at the top: it takes seconds, and most experiments name no such model

    if not re.fullmatch(CONSTRUCTOR_PATTERN, name) or not timm.is_model(name):
        raise InputError(
            f"unknown model {name!r}; neither {source} nor timm has it: {nearest_names(name, known, timm.list_models())}"
            f" To add a network of your own, add an entry to {source} with its `constructor` and the `module` that registers it in timm"
        )
    return Model(family=timm.models.model_entrypoint(name).__module__.rpartition(".")[2], constructor=name)
