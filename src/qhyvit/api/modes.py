"""Modes of PyTorch that a caller may have set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_modes() -> Iterator[None]:
    """Run with gradients, and without inference mode and autocast on any device, whatever the caller has set."""
    accelerator = torch.accelerator.current_accelerator()
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        for device in ("cpu", accelerator.type) if accelerator else ("cpu",):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield
