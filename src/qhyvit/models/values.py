"""Check of the values of a network's weights."""

from torch import nn

from qhyvit.errors import InputError


def require_finite(module: nn.Module, source: str) -> None:
    """Raise InputError, with the ``source`` of the weights, for values that no trained network has.

    These are parameters that are not finite, buffers that hold NaN (masks may hold infinity), and negative running variances.
    """
    for name, parameter in module.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise InputError(f"{source}: the parameter {name} holds values that are not finite; load or train other weights")
    for name, buffer in module.named_buffers():
        if bool(buffer.isnan().any()):
            raise InputError(f"{source}: the buffer {name} holds NaN; load or train other weights")
        if name.rpartition(".")[2] == "running_var" and not bool((buffer >= 0).logical_and(buffer.isfinite()).all()):
            raise InputError(f"{source}: the buffer {name} holds variances that are negative or infinite; load or train other weights")
