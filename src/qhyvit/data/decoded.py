"""Images that are decoded once: their pixels after resizing and cropping, in one file for all networks and jobs of that geometry.

The file is an array [N, H, W, 3] of uint8 in NumPy's format, next to a table with the hashes of each image before and after. Its name
depends on the images, the geometry and the version of Pillow. It is made by the first job that needs it, by one process per core.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import ceil
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from tokenize import TokenError

import numpy as np
import pandas as pd
import PIL
import torch
from timm.data.transforms import MaybeToTensor
from torch import Tensor
from torchvision.transforms import Compose, ToTensor

from qhyvit.data.entries import Entry, read_checked
from qhyvit.data.labelled_images import Transform
from qhyvit.data.locks import locked
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.own_files import of_another_kind
from qhyvit.progress import track

BEFORE, AFTER = "pixels_sha256", "array_sha256"  # of the image before and after
AT_ONCE = 1024  # images that are decoded before they are written


@dataclass(frozen=True)
class DecodedImages:
    """Labelled images in a file of decoded pixels; ``hashes`` are those of each one's array, ``values`` follows the scaling to 0..1."""

    path: Path
    hashes: Sequence[str]
    labels: Tensor
    values: Callable[[Tensor], Tensor]

    def read(self, numbers: slice) -> Tensor:
        """Read the pixels [B, 3, H, W] of some images, channels-last. Raises InputError if they are not those that were written."""
        with _as_written(self.path):
            pixels = _mapped(self.path)[numbers].copy()  # mapped anew each time, so that no pages are kept
        for number, image in enumerate(pixels, start=numbers.start):
            if _hash(image) != self.hashes[number]:
                raise InputError(f"{self.path}: image {number} has changed since it was decoded; delete the file, and it is made again")
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Batches:
    """Inputs [B, 3, H, W] on a device and labels [B] of a part of the images, ``size`` at a time; inputs are those of the transform."""

    images: DecodedImages
    size: int
    part: range
    device: str = "cpu"

    def __len__(self) -> int:
        return ceil(len(self.part) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in self.part[:: self.size]:
            numbers = slice(start, min(start + self.size, self.part.stop))
            pixels = self.images.read(numbers).to(self.device)
            yield self.images.values(pixels.to(torch.float32).div(255)), self.images.labels[numbers]


def decode(entries: list[Entry], transform: Transform, folder: Path) -> DecodedImages:
    """Return the checked images of ``entries`` decoded, from a file in ``folder``, which is made if it is not there.

    Raises InputError for a file that is damaged, for a ``folder`` that cannot be written, and if there is no room for it.
    """
    geometry, values = _split(transform)
    path = folder / f"{_key(entries, geometry)}.npy"
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            _remove_left_over(path)
            _write(path, entries, geometry)
    with _as_written(path):
        table = pd.read_csv(path.with_suffix(".csv"))
        before, after = table[BEFORE].tolist(), table[AFTER].tolist()
        count, *_ = _mapped(path).shape
    if before != [entry.pixels_sha256 for entry in entries] or count != len(entries):
        raise InputError(f"{path}: made from other images; delete it and the table next to it, and they are made again")
    return DecodedImages(path, after, torch.tensor([entry.label for entry in entries]), values)


def _mapped(path: Path) -> np.ndarray:
    """Map an array from its file. Raises ValueError too where NumPy ends in the error of a tokenizer, for some broken headers."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except TokenError as error:
        raise ValueError(str(error)) from error


def _split(transform: Transform) -> tuple[Compose, Compose]:
    """Return the steps before the image becomes a tensor, and those after."""
    assert isinstance(transform, Compose)
    steps = transform.transforms
    border = next(number for number, step in enumerate(steps) if isinstance(step, ToTensor | MaybeToTensor))
    return Compose(steps[:border]), Compose(steps[border + 1 :])


def _key(entries: list[Entry], geometry: Compose) -> str:
    hashes = [str(entry.pixels_sha256) for entry in entries]
    steps = [f"{step!r} {_settings(step)}" for step in geometry.transforms]
    return hashlib.sha256("\n".join([AFTER, *steps, PIL.__version__, *hashes]).encode()).hexdigest()[:16]


def _settings(step: object) -> dict[str, object]:
    """Return all settings of a step: its representation may omit some, as timm's CenterCropOrPad does with its fill."""
    return {name: value for name, value in sorted(vars(step).items()) if not name.startswith("_")}


def _remove_left_over(path: Path) -> None:
    """Remove what a process that was killed has left of ``path`` and its table: no other process writes them under the lock."""
    for temporary in path.parent.glob(f".{path.stem}.*.tmp"):
        temporary.unlink(missing_ok=True)


def _write(path: Path, entries: list[Entry], geometry: Compose) -> None:
    """Write the array and, before it takes its place, the table."""
    hashes = []
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for number, image in enumerate(track(_decoded(entries, geometry), "decoding images")):
            if number == 0:
                shape = (len(entries), *image.shape)
                _require_room(path, shape)
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.write(image.tobytes())
            hashes.append(_hash(image))
        with atomic_write(path.with_suffix(".csv")) as table:
            pd.DataFrame({BEFORE: [entry.pixels_sha256 for entry in entries], AFTER: hashes}).to_csv(table, index=False)


def _decoded(entries: list[Entry], geometry: Compose) -> Iterator[np.ndarray]:
    """Yield the pixels [H, W, 3] of each image, decoded by as many processes as this one may use cores."""
    with ProcessPoolExecutor(_cores(), initializer=_end_with_parent) as pool:
        for start in range(0, len(entries), AT_ONCE):
            yield from pool.map(partial(_pixels, geometry=geometry), entries[start : start + AT_ONCE], chunksize=16)


def _end_with_parent() -> None:
    """End this worker when its parent is gone: one that is killed cannot end its pool."""
    Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pixels(entry: Entry, geometry: Compose) -> np.ndarray:
    return np.asarray(geometry(read_checked(entry)))


def _require_room(path: Path, shape: tuple[int, ...]) -> None:
    """Say how large the file becomes. Raises InputError if the disk has not as much left."""
    size, room = np.prod(shape) / 1e6, shutil.disk_usage(path.parent).free / 1e6
    print(f"{path}: {shape[0]} images of {shape[1]} x {shape[2]} pixels are decoded for all jobs, {size:,.0f} MB")
    if size > room:
        raise InputError(f"{path.parent}: {size:,.0f} MB are needed for decoded images, {room:,.0f} MB are free; state another `decoded`")


def _as_written(path: Path) -> AbstractContextManager[None]:
    return of_another_kind(lambda said: f"{path}: not as it was written ({said}); delete it, and it is made again")


def _hash(image: np.ndarray) -> str:
    """Return a hash of an array's type and shape too: a header that was changed would give other values for the same bytes."""
    return hashlib.sha256(f"{image.dtype.str} {image.shape}\n".encode() + image.tobytes()).hexdigest()
