"""Files of quantized models: the quantizers of every site, the parameters that a method changed, and the provenance, in safetensors."""

import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import ConfigDict, TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qhyvit.files import atomic_write
from qhyvit.own_files import read_header, require, written_by
from qhyvit.provenance import Provenance
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizer, Quantizers, parameters
from qhyvit.quantizers.floating_point import FP32_BITS, FloatingPoint
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.twin import AddedTwinUniformQuantizer, TwinUniformQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

WRITERS = "`qhyvit quantize`, `qhyvit convert` or QuantizedModel.save"
KINDS: dict[str, type[Quantizer]] = {
    kind.__name__: kind
    for kind in (UniformQuantizer, RescaledWeightQuantizer, TwinUniformQuantizer, AddedTwinUniformQuantizer, LogQuantizer, FloatingPoint)
}

MOST_AXES = 8
PREFIX = "parameters//"  # of the names of changed parameters; names of sites do not end in a slash


def save_quantizers(path: Path, quantizers: Quantizers, provenance: Provenance, changed: Parameters = NO_PARAMETERS) -> None:
    """Write the tensors of each quantizer as ``<site>/<operand>/<field>``; the header has its kind, its other fields and the provenance.

    ``changed`` parameters of the network are written as ``parameters//<name>``.
    """
    tensors = {PREFIX + name: value.contiguous() for name, value in changed.items()}
    settings: dict[str, dict[str, object]] = {}
    for site, operands in quantizers.items():
        for operand, quantizer in operands.items():
            key = f"{site}/{operand}"
            settings[key] = {"kind": type(quantizer).__name__}
            for name, value in parameters(quantizer).items():
                if isinstance(value, Tensor):
                    tensors[f"{key}/{name}"] = value.clone(memory_format=torch.contiguous_format)
                else:
                    settings[key][name] = value
    header = {"header": json.dumps({"quantizers": settings, "provenance": provenance}, sort_keys=True)}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_parameters(path: Path, device: str = "cpu") -> Parameters:
    """Read the changed parameters that `save_quantizers` wrote, on ``device``. Raises InputError for any other file."""
    with written_by(path, WRITERS), safe_open(path, framework="pt", device=device) as file:
        return {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys() if name.startswith(PREFIX)}  # noqa: SIM118


def load_quantizers(path: Path, device: str = "cpu") -> tuple[Quantizers, Provenance]:
    """Read the quantizers that `save_quantizers` wrote, with their tensors on ``device``, and the provenance.

    Raises InputError for any other file.
    """
    quantizers: dict[str, dict[str, Quantizer]] = {}
    with (
        written_by(path, WRITERS),
        safe_open(path, framework="pt", device=device) as file,
    ):
        header = read_header(file)
        for key, settings in header["quantizers"].items():
            site, _, operand = key.rpartition("/")
            kind = KINDS[settings.pop("kind")]
            names = [field.name for field in fields(kind) if field.name not in settings]  # type: ignore[arg-type]
            tensors = {name: _read_tensor(file, key, name) for name in names}
            quantizers.setdefault(site, {})[operand] = _checked(kind(**tensors, **settings), key)
        return quantizers, header["provenance"]


def _read_tensor(file: safe_open, key: str, name: str) -> Tensor:
    """Read a tensor of a quantizer. Raises ValueError for values that no quantizer has."""
    value = file.get_tensor(f"{key}/{name}")
    real = value.dtype == torch.float32 and bool(value.isfinite().all())
    require(real and (name == "zero_point" or bool((value > 0).all())), f"{key} has other values than a {name} of float32")
    return value


def _checked(quantizer: Quantizer, key: str) -> Quantizer:
    """Return the quantizer of a file. Raises ValueError for a field of another type or with a value that no quantizer has."""
    for name, value in parameters(quantizer).items():
        _type_of(type(quantizer), name).validate_python(value, strict=True)
    require(abs(getattr(quantizer, "axis", None) or 0) < MOST_AXES, f"{key} has an axis that no tensor has")
    require(not isinstance(quantizer, TwinUniformQuantizer) or quantizer.boundary <= 1, f"{key} has a boundary above all probabilities")
    require(isinstance(quantizer, FloatingPoint) <= (quantizer.bits == FP32_BITS), f"{key} has other bits than FP32")
    return quantizer


@cache
def _type_of(kind: type[Quantizer], field: str) -> TypeAdapter[Any]:
    hint = get_type_hints(kind)[field]
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
