"""Run exported files."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from qhyvit.deploy import onnx, openvino
from qhyvit.errors import InputError

MODULES: dict[str, ModuleType] = {".xml": openvino, ".onnx": onnx}  # by suffix; all have the same functions


@dataclass(frozen=True)
class Engine:
    """An exported file, compiled for this machine's processor."""

    path: Path
    compiled: Any

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits [N, classes] of images [N, C, H, W], N a multiple of the batch size of the file.

        Raises InputError for images of another size or type.
        """
        module = find_engine(self.path)
        batch, *size = module.input_shape(self.compiled)
        if images.dtype != torch.float32:
            raise InputError(f"{self.path}: takes images of float32, not of {str(images.dtype).removeprefix('torch.')}; convert them")
        if list(images.shape[1:]) != size or not len(images) or len(images) % batch:
            raise InputError(f"{self.path}: takes {batch} images {size} at a time, not {list(images.shape)}; resize them or export anew")
        return torch.cat([module.run(self.compiled, [part])[0] for part in images.split(batch)])

    def int8_share(self) -> float:
        """Return the share of the multiply-accumulates whose kernels multiply integers, as the compiled model says."""
        products = find_engine(self.path).products(self.path, self.compiled)
        return sum(macs for macs, integer in products if integer) / sum(macs for macs, _ in products)

    @property
    def size(self) -> int:
        """Size of the file in bytes, with that of the weights of an OpenVINO model, which are a file of their own."""
        files = [self.path, self.path.with_suffix(".bin")] if self.path.suffix == ".xml" else [self.path]
        return sum(path.stat().st_size for path in files)


def load_engine(path: Path, threads: int | None = None) -> Engine:
    """Compile an exported file, .xml or .onnx, with ``threads`` threads, all cores by default.

    Raises InputError for any other file, and for a damaged one.
    """
    module = find_engine(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; write it with `qhyvit export`")
    if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
        raise InputError(f"{path.with_suffix('.bin')}: no such file, and {path} has its weights there; put it there, or export again")
    try:
        return Engine(path, module.compile_model(path, threads))
    except InputError:
        raise
    except Exception as error:  # of any kind: each engine has several
        said = shorten(str(error).strip().rpartition("\n")[2], 200)
        raise InputError(f"{path}: damaged, or not written by `qhyvit export` or `qhyvit peer` ({said}); export again") from error


def find_engine(path: Path) -> ModuleType:
    """Return the module that writes and runs files of the suffix of ``path``. Raises InputError for another suffix."""
    if path.suffix not in MODULES:
        raise InputError(f"{path}: no format has this suffix; give .xml for OpenVINO or .onnx for ONNX")
    return MODULES[path.suffix]
