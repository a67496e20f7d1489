"""Properties of the module that a user gives, and checks that it can be quantized."""

from hashlib import sha256
from itertools import chain

import torch
from torch import Tensor, nn

from qhyvit.errors import InputError
from qhyvit.graph.fake_quant import FakeQuantize

WRAPPERS: dict[type, str] = {
    nn.DataParallel: "DataParallel",
    nn.parallel.DistributedDataParallel: "DistributedDataParallel",
    torch.jit.ScriptModule: "TorchScript",
}


def device_of(module: nn.Module) -> str:
    """Return the device of all parameters and buffers; "cpu" if there are none.

    Raises InputError if they are on several, or on none, and for anything that is no plain module of FP32.
    """
    require_plain(module)
    devices = {str(tensor.device) for tensor in chain(module.parameters(), module.buffers())} or {"cpu"}
    if len(devices) > 1:
        raise InputError(f"module: is on several devices ({', '.join(sorted(devices))}); move all of it to one of them")
    (device,) = devices
    if device == "meta":
        raise InputError("module: is on the device meta, so its parameters have no values; load its weights first")
    return device


def require_plain(module: nn.Module) -> None:
    """Raise InputError for what is no module, for what cannot be traced, and for parameters that are not of float32.

    Wrappers of a network, quantized models, and networks with tensors that are not dense cannot be traced.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"module: is {type(module).__name__}, no torch.nn.Module; give the network itself, with its weights loaded")
    _require_unwrapped(module)
    if any(isinstance(part, FakeQuantize) for part in module.modules()):
        raise InputError("module: is already quantized; give the original module")
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if tensor.layout != torch.strided:
            raise InputError(f"module: {name} has the layout {tensor.layout}, which is not traced; make it dense by its method to_dense")
    others = {str(tensor.dtype) for tensor in module.parameters() if tensor.is_floating_point()} - {"torch.float32"}
    if others:
        raise InputError(f"module: has parameters of {' and '.join(sorted(others))}; quantization starts from FP32, so give module.float()")


def _require_unwrapped(module: nn.Module) -> None:
    """Raise InputError for a wrapper of a network, and for one with a part in a wrapper that cannot be traced."""
    if hasattr(module, "_orig_mod"):
        raise InputError("module: is a network in torch.compile; give the original network")
    for path, part in module.named_modules():
        wrapper = next((name for kind, name in WRAPPERS.items() if isinstance(part, kind)), None)
        if wrapper and not path:
            raise InputError(f"module: is a network in {wrapper}; give the original network")
        if wrapper and getattr(part, "device_ids", None) != []:  # a DataParallel without GPUs calls its module
            raise InputError(f"module: its part {path} is in {wrapper}; put the original part in its place")


def require_logits(result: Tensor, images: int) -> None:
    """Raise InputError unless the ``result`` of the module for so many ``images`` is logits [B, classes] of several classes."""
    if result.ndim != 2 or len(result) != images:
        said = f"returns {list(result.shape)} for {images} images"
        raise InputError(f"module: {said}; it must return logits [B, classes], so wrap it in a module that does")
    if result.shape[1] < 2:
        said = "returns one logit, whose softmax is 1 for every image, so that no error of quantization would count"
        raise InputError(
            f"module: {said}; wrap it in a module that returns a second logit of zeros: torch.cat([x, torch.zeros_like(x)], 1)"
        )


def example(images: Tensor) -> Tensor:
    """Make a batch of two from the first of ``images``, on the CPU, for tracing: torch.export specializes a batch of one."""
    return images[:1].cpu().expand(2, *images.shape[1:]).clone()


def state_hash(module: nn.Module) -> str:
    """Hash the names and values of all tensors of a state dict; extra state of another kind has no bytes that are the same everywhere."""
    digest = sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
