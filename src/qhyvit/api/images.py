"""Calibration images of every kind that is accepted, as one tensor."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qhyvit.data.entries import read_image
from qhyvit.data.labelled_images import Transform
from qhyvit.data.unlabelled_folder import draw, list_images
from qhyvit.errors import InputError
from qhyvit.progress import track

Images = Tensor | Path | str | Iterable[Any]
LARGEST_FOLDER = 256  # images; of a larger folder as many are drawn


def gather(images: Images, module: nn.Module, seed: int) -> Tensor:
    """Join images of any accepted kind to one tensor [N, C, H, W] on the CPU; those of a folder are transformed for ``module``."""
    if not isinstance(images, str | Path | Iterable):
        raise InputError(
            f"images: are {type(images).__name__}; give a tensor [N, C, H, W], a DataLoader, an iterable of tensors, or a folder"
        )
    if isinstance(images, str | Path):
        images = read_images(draw(list_images(Path(images)), LARGEST_FOLDER, seed), transform_of(module))
    batches = list(_batches(images))
    sizes = {tuple(batch.shape[1:]) for batch in batches}
    if not batches or not sum(map(len, batches)):
        raise InputError("images: there are none; give at least one image [C, H, W]")
    if len(sizes) > 1:
        raise InputError(f"images: have several sizes ({', '.join(map(str, sorted(sizes)))}); resize and crop them to one")
    gathered = torch.cat(batches)
    if not bool(gathered.isfinite().all()):
        raise InputError("images: hold values that are not finite; check the preprocessing")
    return gathered


def read_images(paths: Iterable[Path], transform: Transform) -> Tensor:
    """Read image files and return the inputs of a network [N, C, H, W]. Raises InputError for a file that is damaged or no image."""
    return torch.stack([transform(read_image(path)) for path in track(list(paths), "reading images")])


def transform_of(module: nn.Module) -> Transform:
    """Return the transform that timm states for ``module``. Raises InputError for a module that has none."""
    if not getattr(module, "pretrained_cfg", None):
        raise InputError(
            f"images: {type(module).__name__} has no `pretrained_cfg`, as models of timm have, which says how to transform the images of a"
            " folder; give images that are transformed: a tensor [N, C, H, W], a DataLoader, or an iterable of tensors [C, H, W]"
        )
    from timm.data import create_transform, resolve_data_config  # not at the top: timm takes seconds, and other modules do without

    transform: Transform = create_transform(**resolve_data_config({}, model=module), is_training=False)
    return transform


def describe_transform(module: nn.Module) -> str:
    """Say in one sentence what the transform of `transform_of` does, for those who run the network elsewhere."""
    from timm.data import resolve_data_config  # as above

    config = resolve_data_config({}, model=module)
    channels, height, width = config["input_size"]
    mean, deviation = (", ".join(f"{value:g}" for value in config[name]) for name in ("mean", "std"))
    return (
        f"Images [1, {channels}, {height}, {width}] are RGB, resized ({config['interpolation']}) and cropped (timm's crop_pct"
        f" {config['crop_pct']:g}, crop_mode {config['crop_mode']}), scaled to 0..1, less the mean {mean}, over the standard deviation"
        f" {deviation}."
    )


def _batches(images: Tensor | Iterable[Any]) -> Iterator[Tensor]:
    for item in [images] if isinstance(images, Tensor) else images:
        tensor = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(tensor, Tensor) or tensor.ndim not in (3, 4) or not tensor.is_floating_point():
            found = f"{tensor.dtype} of shape {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise InputError(f"images: expected float tensors [C, H, W] or [B, C, H, W], not {found}; apply the transform of the model")
        yield (tensor if tensor.ndim == 4 else tensor[None]).cpu().float()
