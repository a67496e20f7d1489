"""Properties of the module that a user gives, and checks that it can be quantized."""

from copy import deepcopy
from hashlib import sha256
from itertools import chain

import torch
from torch import Tensor, nn

from qhyvit.errors import InputError

WRAPPERS: dict[type, str] = {
    nn.DataParallel: "DataParallel",
    nn.parallel.DistributedDataParallel: "DistributedDataParallel",
    torch.jit.ScriptModule: "TorchScript",
}


def device_of(module: nn.Module) -> str:
    """Return the device of all parameters and buffers; "cpu" if there are none.

    Raises InputError if they are on several, or on none, and for anything that is no plain module of FP32.
    """
    _require_plain(module)
    devices = {str(tensor.device) for tensor in chain(module.parameters(), module.buffers())} or {"cpu"}
    if len(devices) > 1:
        raise InputError(f"module: is on several devices ({', '.join(sorted(devices))}); move all of it to one of them")
    (device,) = devices
    if device == "meta":
        raise InputError("module: is on the device meta, so its parameters have no values; load its weights first")
    return device


def _require_plain(module: nn.Module) -> None:
    """Raise InputError for what is no module, for a wrapper of one, which cannot be traced, and for parameters that are not of float32."""
    if not isinstance(module, nn.Module):
        raise InputError(f"module: is {type(module).__name__}, no torch.nn.Module; give the network itself, with its weights loaded")
    wrapper = next((name for kind, name in WRAPPERS.items() if isinstance(module, kind)), None)
    if wrapper or hasattr(module, "_orig_mod"):
        raise InputError(f"module: is a network in {wrapper or 'torch.compile'}; give the original network")
    others = {str(tensor.dtype) for tensor in module.parameters() if tensor.is_floating_point()} - {"torch.float32"}
    if others:
        raise InputError(f"module: has parameters of {' and '.join(sorted(others))}; quantization starts from FP32, so give module.float()")


def copy_on_cpu(module: nn.Module) -> nn.Module:
    """Return a copy of ``module`` on the CPU. Raises InputError for one with weights that are computed before each run."""
    try:
        return deepcopy(module).cpu()
    except RuntimeError as error:
        tensors = ((f"{path}.{name}".lstrip("."), value) for path, part in module.named_modules() for name, value in vars(part).items())
        computed = next((name for name, value in tensors if isinstance(value, Tensor) and not value.is_leaf), None)
        if computed is None:
            raise
        said = f"module: cannot be copied, since {computed} is computed before each run and no parameter"
        advice = "call torch.nn.utils.remove_weight_norm, or use torch.nn.utils.parametrizations.weight_norm in its place"
        raise InputError(f"{said}; {advice}") from error


def require_logits(logits: object) -> None:
    """Raise InputError unless ``logits``, the result of the module, are a tensor [B, classes]."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"module: returns {shape}; it must return logits [B, classes], so wrap it in a module that does")


def example(images: Tensor) -> Tensor:
    """Make a batch of two from the first of ``images``, on the CPU, for tracing: torch.export specializes a batch of one."""
    return images[:1].cpu().expand(2, *images.shape[1:]).clone()


def state_hash(module: nn.Module) -> str:
    """Hash the names and values of all tensors of a state dict; extra state of another kind has no bytes that are the same everywhere."""
    digest = sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
