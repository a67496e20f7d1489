"""A quantized model as a file: the quantizers of every site and the provenance, in safetensors."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import get_args

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qhyvit.files import atomic_write
from qhyvit.provenance import Provenance
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.twin import AddedTwinUniformQuantizer, TwinUniformQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

Quantizer = UniformQuantizer | RescaledWeightQuantizer | TwinUniformQuantizer | AddedTwinUniformQuantizer | LogQuantizer
Quantizers = Mapping[str, Mapping[str, Quantizer]]  # site -> operand -> quantizer
KINDS: dict[str, type[Quantizer]] = {kind.__name__: kind for kind in get_args(Quantizer)}


def same(one: Quantizer, other: Quantizer) -> bool:
    """Whether both are of one kind, with the same values."""
    if type(one) is not type(other):
        return False
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return all(torch.equal(*pair) if isinstance(pair[0], Tensor) else pair[0] == pair[1] for pair in pairs)


def save_quantizers(path: Path, quantizers: Quantizers, provenance: Provenance) -> None:
    """Write the tensors of each quantizer as ``<site>/<operand>/<field>``; the header has its kind, its other fields and the provenance."""
    tensors: dict[str, Tensor] = {}
    settings: dict[str, dict[str, object]] = {}
    for site, operands in quantizers.items():
        for operand, quantizer in operands.items():
            key = f"{site}/{operand}"
            settings[key] = {"kind": type(quantizer).__name__}
            for field in fields(quantizer):
                value = getattr(quantizer, field.name)
                if isinstance(value, Tensor):
                    tensors[f"{key}/{field.name}"] = value.clone(memory_format=torch.contiguous_format)
                else:
                    settings[key][field.name] = value
    header = {"header": json.dumps({"quantizers": settings, "provenance": provenance}, sort_keys=True)}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_quantizers(path: Path, device: str = "cpu") -> tuple[Quantizers, Provenance]:
    """Read back what `save_quantizers` wrote, to ``device``."""
    quantizers: dict[str, dict[str, Quantizer]] = {}
    with safe_open(path, framework="pt", device=device) as file:
        header = json.loads(file.metadata()["header"])
        for key, settings in header["quantizers"].items():
            site, _, operand = key.rpartition("/")
            kind = KINDS[settings.pop("kind")]
            tensors = {field.name: file.get_tensor(f"{key}/{field.name}") for field in fields(kind) if field.name not in settings}
            quantizers.setdefault(site, {})[operand] = kind(**tensors, **settings)
    return quantizers, header["provenance"]
