"""Copy of a module."""

from copy import deepcopy
from textwrap import shorten

from torch import nn

from qhyvit.errors import InputError

COMPUTED = {  # advice for an attribute that is computed before each run, by what the names of the tensors that it is computed from end in
    ("_g", "_v"): "call torch.nn.utils.remove_weight_norm, or use torch.nn.utils.parametrizations.weight_norm in its place",
    ("_orig", "_mask"): "call torch.nn.utils.prune.remove for it",
    ("_orig", "_u"): "call torch.nn.utils.remove_spectral_norm, or use torch.nn.utils.parametrizations.spectral_norm in its place",
}


def copy_on_cpu(module: nn.Module) -> nn.Module:
    """Return a copy of ``module`` on the CPU. Raises InputError, with the name of the attribute, for one that cannot be copied."""
    try:
        return deepcopy(module).cpu()
    except Exception as error:  # of any kind: attributes are the user's
        reason = _reason(module) or f"copy.deepcopy fails ({shorten(str(error), 200)}); give a module that it copies"
        raise InputError(f"module: cannot be copied, since {reason}") from error


def _reason(module: nn.Module) -> str | None:
    """Name the first attribute that cannot be copied, and what to do about it."""
    for path, part in module.named_modules():
        for name, value in {**part._buffers, **vars(part)}.items():
            error = None if name == "_modules" else _failure(value)
            if error:
                return f"{path}.{name} ".lstrip(".") + _advice(part, name, error)
    return None


def _failure(value: object) -> Exception | None:
    """Return the exception that copying a value raises."""
    try:
        deepcopy(value)
    except Exception as error:
        return error
    return None


def _advice(part: nn.Module, name: str, error: Exception) -> str:
    for endings, advice in COMPUTED.items():
        if all(hasattr(part, name + ending) for ending in endings):
            return f"is computed before each run and no parameter; {advice}"
    if "graph leaves" in str(error):  # the only tensors that PyTorch copies
        return "holds results of a run with the history of their gradients; set it to None, or detach() them"
    return f"cannot be ({shorten(str(error), 200)}); remove it or set it to None"
