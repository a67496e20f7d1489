"""Check of the values of a network's weights."""

from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from qhyvit.errors import InputError


@torch.no_grad()
def require_finite(module: nn.Module, source: str) -> None:
    """Raise InputError, with the ``source`` of the weights, for values that no trained network has.

    These are parameters that are not finite, buffers that hold NaN (masks may hold infinity), and negative running variances.
    Tensors of lazy modules have no values before the first run.
    """
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if is_lazy(tensor):
            raise InputError(f"{source}: {name} has no values, since its module is lazy; run the module once before, on an image")
    for name, parameter in module.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise InputError(f"{source}: the parameter {name} holds values that are not finite; load or train other weights")
    for name, buffer in module.named_buffers():
        if bool(buffer.isnan().any()):
            raise InputError(f"{source}: the buffer {name} holds NaN; load or train other weights")
        if name.rpartition(".")[2] == "running_var" and not bool((buffer >= 0).logical_and(buffer.isfinite()).all()):
            raise InputError(f"{source}: the buffer {name} holds variances that are negative or infinite; load or train other weights")
