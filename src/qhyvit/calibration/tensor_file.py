"""Tensors in a temporary file: what a calibration collects takes more memory than a search needs at a time."""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from qhyvit.errors import UnwritableError

T = TypeVar("T")
Read = Callable[[], T]


def in_memory(value: T) -> Read[T]:
    """Return the function that returns ``value``."""
    return lambda: value


class TensorFile:
    """Temporary file of tensors. It has no name: the system removes it with the process, however that ends."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  # open as long as there is a function that reads from it
        self._size = 0

    def write(self, tensor: Tensor) -> Read[Tensor]:
        """Append a tensor on the CPU, and return the function that reads it.

        Raises UnwritableError, with the folder of temporary files, where there is no space.
        """
        values = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
        read = partial(self._read, self._size, len(values), tensor.shape, tensor.dtype)
        try:
            self._file.write(values.data)
            self._file.flush()
        except OSError as error:
            raise UnwritableError(Path(gettempdir()), error.errno or errno.EIO) from error
        self._size += len(values)
        return read

    def _read(self, start: int, size: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        if not size:  # no map is empty
            return torch.empty(shape, dtype=dtype)
        values = np.memmap(self._file, np.uint8, "r", start, size)  # unlike a file, it has no position that threads share
        return torch.from_numpy(np.array(values)).view(dtype).view(shape)
