"""A quantized model as a file: the quantizers of every site and the provenance, in safetensors."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from qhyvit.files import written_whole
from qhyvit.provenance import Provenance
from qhyvit.quantizers.uniform import UniformQuantizer

Quantizers = dict[str, dict[str, UniformQuantizer]]  # site -> operand -> quantizer


def save_quantizers(path: Path, quantizers: Quantizers, provenance: Provenance) -> None:
    """Write tensors ``<site>/<operand>/scale`` and ``.../zero_point``; the header says the rest."""
    tensors, grids = {}, {}
    for site, operands in quantizers.items():
        for operand, quantizer in operands.items():
            key = f"{site}/{operand}"
            tensors[f"{key}/scale"] = quantizer.scale.clone(memory_format=torch.contiguous_format)
            tensors[f"{key}/zero_point"] = quantizer.zero_point.clone(memory_format=torch.contiguous_format)
            grids[key] = {"bits": quantizer.bits, "scheme": quantizer.scheme, "axis": quantizer.axis}
    header = {"header": json.dumps({"grids": grids, "provenance": provenance}, sort_keys=True)}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_quantizers(path: Path) -> tuple[Quantizers, Provenance]:
    """Read back what `save_quantizers` wrote."""
    quantizers: Quantizers = {}
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["header"])
        for key, grid in header["grids"].items():
            site, _, operand = key.rpartition("/")
            scale, zero_point = (file.get_tensor(f"{key}/{name}") for name in ("scale", "zero_point"))
            quantizers.setdefault(site, {})[operand] = UniformQuantizer(scale=scale, zero_point=zero_point, **grid)
    return quantizers, header["provenance"]
