"""Calibration images of every kind that is accepted, as one tensor."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
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
    return _joined(_batches(images, module, seed))


def first_image(images: Images, module: nn.Module) -> Tensor:
    """Return the first image [1, C, H, W] of those that `gather` joins for the seed 0, and read no more of them than its batch."""
    return _joined(batch[:1] for batch in islice(filter(len, _batches(images, module, seed=0)), 1))


def read_images(paths: Iterable[Path], transform: Transform) -> Tensor:
    """Read image files and return the inputs of a network [N, C, H, W]. Raises InputError for a file that is damaged or no image."""
    return torch.stack(list(_read(paths, transform)))


def reader_of(images: Images, module: nn.Module, seed: int) -> Callable[[int], Tensor] | None:
    """Return what draws at most so many images of a folder, transformed for ``module``; None for images that are no folder."""
    if not isinstance(images, str | Path):
        return None
    found, transform = list_images(Path(images).absolute()), transform_of(module)
    return lambda count: read_images(draw(found, count, seed), transform)


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
        f" {config['crop_pct']:g}, crop_mode {config['crop_mode']}), scaled to 0..1, minus the mean {mean}, divided by the standard"
        f" deviation {deviation}."
    )


def _joined(images: Iterable[Tensor]) -> Tensor:
    """Join batches. Raises InputError if there are no images, or if they are of several sizes or not finite."""
    batches = list(images)
    sizes = {tuple(batch.shape[1:]) for batch in batches}
    if not batches or not sum(map(len, batches)):
        raise InputError("images: there are none; give at least one image [C, H, W]")
    if len(sizes) > 1:
        raise InputError(f"images: have several sizes ({', '.join(map(str, sorted(sizes)))}); resize and crop them to one")
    joined = torch.cat(batches)
    if not bool(joined.isfinite().all()):
        raise InputError("images: hold values that are not finite; check the preprocessing")
    return joined


def _batches(images: Images, module: nn.Module, seed: int) -> Iterator[Tensor]:
    """Yield batches [B, C, H, W] on the CPU, each read when it is due."""
    if not isinstance(images, str | Path | Iterable):
        raise InputError(
            f"images: are {type(images).__name__}; give a tensor [N, C, H, W], a DataLoader, an iterable of tensors, or a folder"
        )
    if isinstance(images, str | Path):
        images = _read(draw(list_images(Path(images)), LARGEST_FOLDER, seed), transform_of(module))
    for item in [images] if isinstance(images, Tensor) else images:
        yield _batch(item)


def _read(paths: Iterable[Path], transform: Transform) -> Iterator[Tensor]:
    for path in track(list(paths), "reading images"):
        yield transform(read_image(path))


def _batch(item: Any) -> Tensor:
    """Return what an iterable of images yields, or the first of a tuple or list, as a batch. Raises InputError for what is no image."""
    if isinstance(item, tuple | list):
        if any(_is_image(other) for other in item[1:2]):
            raise InputError("images: a batch is a list of images, of which the others would be lost; stack the images of a batch")
        item = item[0] if item else None
    if not _is_image(item) or item.ndim > 4:
        found = f"{item.dtype} of shape {list(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
        raise InputError(f"images: expected float tensors [C, H, W] or [B, C, H, W], not {found}; apply the transform of the model")
    return (item if item.ndim == 4 else item[None]).cpu().float()


def _is_image(item: Any) -> bool:
    """Tell if something is an image, or a batch of them."""
    return isinstance(item, Tensor) and item.ndim >= 3 and item.is_floating_point()
