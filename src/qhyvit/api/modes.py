"""Modes of PyTorch that a caller may have set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_modes() -> Iterator[None]:
    """Run in float32, on the CPU where no device is named, and with gradients, without inference mode and autocast on any device."""
    default_type = torch.get_default_dtype()
    with torch.inference_mode(False), torch.enable_grad(), without_autocast(), ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_default_dtype, default_type)
        torch.set_default_dtype(torch.float32)
        yield


@contextmanager
def without_autocast() -> Iterator[None]:
    """Run without autocast on the CPU and on the accelerator, if there is one."""
    accelerator = torch.accelerator.current_accelerator()
    with ExitStack() as stack:
        for device in ("cpu", accelerator.type) if accelerator else ("cpu",):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield
