"""Build networks, load their weights, and make the transforms of their inputs."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config
from timm.models import clean_state_dict
from torch import Tensor, nn

from qhyvit.config.dataset import Dataset
from qhyvit.config.models import Model
from qhyvit.data.labelled_images import Transform
from qhyvit.errors import InputError
from qhyvit.models.image_size import fit_attention_to_size, fitted, load_state
from qhyvit.models.values import require_finite
from qhyvit.own_files import require_regular

OF_PYTORCH = (b"PK", b"\x80\x02")  # first bytes of checkpoints that `torch.save` writes, today and formerly


def build(spec: Model, classes: int, size: int | None = None) -> nn.Module:
    """Build the network of ``spec`` with random weights, for images of ``size`` pixels per side (None: the network's own size).

    Raises InputError if timm does not have it, or if its module or constructor fails.
    """
    try:
        if spec.module:
            import_module(spec.module)
        model = timm.create_model(spec.constructor, num_classes=classes, exportable=True, **spec.arguments, **_size_argument(spec, size))
    except Exception as error:  # of any kind: module and arguments are the user's
        said = shorten(": ".join(filter(None, (type(error).__name__, str(error)))), 200)
        raise InputError(
            f"model constructor {spec.constructor!r}: {said}; correct its entry in the models file of the experiment"
        ) from error
    if size is not None:
        fit_attention_to_size(model, size)
    _state_input(model, spec, size)
    return model


def _state_input(model: nn.Module, spec: Model, size: int | None) -> None:
    """State the channels and the size of images in timm's description of the model, which has those of the published weights."""
    published: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    if "input_size" in published:
        channels, height, width = published["input_size"]
        side = size or spec.arguments.get("img_size")
        model.pretrained_cfg = published | {"input_size": (spec.arguments.get("in_chans", channels), side or height, side or width)}  # type: ignore[assignment]


def load_published_weights(model: nn.Module, spec: Model) -> None:
    """Load the weights that timm publishes for ``spec`` into ``model``, of as many classes as they have.

    Raises InputError if there are none, if they cannot be downloaded, and if they do not fit.
    """
    try:
        load_state(model, timm.create_model(spec.constructor, pretrained=True, **spec.arguments).state_dict())
    except Exception as error:  # of the download, by several libraries
        said = shorten(str(error), 200)
        raise InputError(f"{spec.constructor}: no published weights could be loaded ({said}); give a file of weights") from error


def _size_argument(spec: Model, size: int | None) -> dict[str, int]:
    """Return the argument for the image size, if timm's registry says that the parameters of the network depend on it."""
    published = timm.get_pretrained_cfg(spec.constructor, allow_unregistered=True) if size else None
    return {"img_size": size} if size and published and published.fixed_input_size else {}


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a safetensors state dict into ``model``; all keys and shapes must fit, and floating-point tensors must be so in both.

    Raises InputError for a missing file, a folder, a file of another format (pickles are never opened), weights that do not fit, and values
    that are not finite or no variances.
    """
    state = _read_state(path)
    _refuse_other_types(model, state, path)
    try:
        load_state(model, {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()})
    except RuntimeError as error:
        said = _differences(model.state_dict(), fitted(model, state)) or " ".join(str(error).split())
        raise InputError(f"{path}: does not fit the model ({said}); correct the weights, the model, or its number of classes") from error
    require_finite(model, str(path))


def _read_state(path: Path) -> dict[str, Tensor]:
    require_regular(path)
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights; correct the path, or fetch them with `qhyvit fetch weights`") from error
    except SafetensorError as error:
        with path.open("rb") as file:
            of_pytorch = file.read(2) in OF_PYTORCH
        fix = "`qhyvit fetch checkpoint` converts a checkpoint of PyTorch to one" if of_pytorch else "replace it with an intact copy"
        raise InputError(f"{path}: not a safetensors file, or damaged ({error}); {fix}") from error


def _refuse_other_types(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError for complex numbers where the model has real ones, and for integers where it has floating-point numbers."""
    for name, own in model.state_dict().items():
        found = state.get(name, own)
        if (found.is_complex() and not own.is_complex()) or (own.is_floating_point() and not found.is_floating_point()):
            raise InputError(
                f"{path}: {name} is of type {_type(found)}, the model's of {_type(own)}; give weights that are floating-point numbers"
            )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Count the tensors of a ``state`` dict that are not as the ``own`` ones of a model, and name the first of each kind."""
    missing = [name for name in own if name not in state]
    foreign = [name for name in state if name not in own]
    reshaped = [name for name in own if name in state and own[name].shape != state[name].shape]
    said = []
    if missing:
        said.append(f"{len(missing)} of {len(own)} tensors are missing, first {missing[0]}")
    if foreign:
        said.append(f"{len(foreign)} are of another model, first {foreign[0]}")
    if reshaped:
        first = reshaped[0]
        said.append(f"{len(reshaped)} have another shape, first {first}: {list(state[first].shape)} instead of {list(own[first].shape)}")
    if own.keys() & clean_state_dict(dict(state)).keys() > own.keys() & state.keys():
        said.append("names have the prefix of a wrapper, which `qhyvit fetch checkpoint` removes from those of a PyTorch checkpoint")
    return "; ".join(said)


def input_shape(model: nn.Module, dataset: Dataset | None = None) -> tuple[int, int, int]:
    """Return channels, height and width of the model's input on an image set; None: those of its own description."""
    channels, height, width = data_config(model, dataset)["input_size"]
    return channels, height, width


def make_transform(model: nn.Module, dataset: Dataset) -> Transform:
    """Make timm's evaluation transform, with what the image set states itself: size, crop, interpolation, mean or std.

    Raises InputError for a model that takes no images of red, green and blue.
    """
    channels, *_ = input_shape(model, dataset)
    if channels != 3:
        raise InputError(f"takes images of {channels} channels, not of red, green and blue; remove `in_chans` from its `arguments`")
    return create_transform(**data_config(model, dataset), is_training=False)


def data_config(model: nn.Module, dataset: Dataset | None = None) -> dict[str, Any]:
    """Return timm's description of the model's input: input_size, interpolation, mean, std, crop_pct, crop_mode."""
    own: dict[str, Any] = resolve_data_config({}, model=model)
    if dataset is None:
        return own
    size = {} if dataset.input_size is None else {"input_size": (own["input_size"][0], dataset.input_size, dataset.input_size)}
    config: dict[str, Any] = resolve_data_config(dataset.preprocessing | size, model=model)
    return config


def example_input(model: nn.Module, dataset: Dataset) -> Tensor:
    """Make a batch of two images [2, C, H, W] for tracing; torch.export specializes a batch of one."""
    return torch.zeros(2, *input_shape(model, dataset))
