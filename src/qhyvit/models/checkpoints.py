"""Conversion of PyTorch checkpoints, as training code of many kinds writes them, to safetensors."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors.torch import save_file
from timm.models import clean_state_dict
from torch import Tensor

from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.own_files import require_regular

STATE_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")  # averaged weights come first, as timm has it
LARGEST_REPEATED = 2**30  # bytes of a tensor that its file does not hold, but repeats values of another shape
ADVICE = re.compile(r".*WeightsUnpickler error:|Please (use|file) .*|Check the documentation .*", re.DOTALL)  # on how to open any file


def convert_checkpoint(checkpoint: Path, path: Path) -> str:
    """Write the state dict of a PyTorch checkpoint to ``path`` as safetensors, and return a sentence on what was taken.

    The state dict is the first of `STATE_KEYS` that is there, or the checkpoint itself, of which numbers and texts are left out. Prefixes
    of wrappers (``module.``, ``_orig_mod.``) are removed from the names. Only tensors, plain containers and the arguments of a script
    (`argparse.Namespace`) are unpickled. Raises InputError for a file that is missing, a checkpoint that holds anything else or no state
    dict, and a state dict that holds anything but dense tensors of types that safetensors has.
    """
    content = _unpickle(checkpoint)
    if not isinstance(content, Mapping):
        raise InputError(f"{checkpoint}: is {_kind(content)}, no state dict; save the state dict of the network and convert that")
    key = next((key for key in STATE_KEYS if isinstance(content.get(key), Mapping)), None)
    state = content[key] if key else {name: value for name, value in content.items() if not isinstance(value, int | float | str | None)}
    _require_tensors(checkpoint, state)
    tensors = clean_state_dict(state)
    if len(tensors) < len(state):
        raise InputError(f"{checkpoint}: has a name with and without the prefix of a wrapper; save the state dict of the network alone")
    with atomic_write(path) as temporary:  # tied tensors share memory, which safetensors refuses
        save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}, temporary)
    left_out = [str(name) for name in content if name not in state and name != key]
    return f"{len(tensors)} tensors of {key or 'the checkpoint'}" + (f", without {', '.join(left_out)}" if left_out else "")


def _unpickle(checkpoint: Path) -> Any:
    require_regular(checkpoint)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain data, in which timm's training has its arguments
            return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{checkpoint}: no such file; correct the path") from error
    except Exception as error:  # torch raises whatever the unpickler met
        said = shorten(f"{type(error).__name__}: {ADVICE.sub('', str(error))}", 200) if checkpoint.stat().st_size else "it is empty"
        raise InputError(f"{checkpoint}: cannot be opened safely ({said}); save its state dict alone and convert that") from error


def _require_tensors(checkpoint: Path, state: Mapping[Any, Any]) -> None:
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"{checkpoint}: {name!r} is {_kind(value)}, no named tensor; save the state dict of the network alone, or under a key that"
                f" is looked for ({', '.join(STATE_KEYS)})"
            )
        if said := _why_not_written(name, value):
            raise InputError(f"{checkpoint}: {name!r} is {said}; change or remove it, and save the state dict again")
    if not state:
        raise InputError(f"{checkpoint}: holds no tensors; save the state dict of the network and convert that")


def _why_not_written(name: str, tensor: Tensor) -> str:
    """Say why safetensors cannot have a named tensor; "" if it can."""
    if name == "__metadata__" or name.encode(errors="ignore").decode() != name:
        return "a name that safetensors cannot have"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return "a sparse, quantized or nested tensor, not a dense one"
    if tensor.is_meta:
        return "a tensor without values (device meta)"
    if tensor.dtype == torch.complex128:
        return "a tensor of complex128, a type that safetensors does not have"
    if tensor.nbytes > max(LARGEST_REPEATED, tensor.untyped_storage().nbytes()):
        return f"an expanded tensor of {tensor.nbytes:,} bytes, more than the checkpoint holds"
    return ""


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"
