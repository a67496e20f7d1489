"""Check of what a module returns."""

from textwrap import shorten

import torch
from torch import Tensor, nn

from qhyvit.errors import InputError

IN_PLACE_OF_SQUEEZE = "use flatten(1) or squeeze((2, 3)) in place of squeeze(), which removes the axis of the batch too"


def require_logits(module: nn.Module, images: Tensor) -> None:
    """Raise InputError unless ``module`` returns logits [B, classes], in floating point, for two ``images`` [2, C, H, W] and for one.

    Tracing is left to refuse a module that cannot run on two images, or that returns no tensor: it names the part that fails.
    """
    logits, single = (_result(module.eval(), batch) for batch in (images, images[:1]))
    if not isinstance(logits, Tensor):
        return
    if logits.ndim != 2 or len(logits) != len(images) or not logits.numel() or not logits.is_floating_point():
        said = f"returns {logits.dtype} of shape {list(logits.shape)} for two images"
        raise InputError(f"module: {said}; it must return real floating-point logits [B, classes], so wrap it in a module that does")
    if not isinstance(single, Tensor):
        raise InputError(f"module: runs on two images, but not on one ({shorten(str(single), 200)}); {IN_PLACE_OF_SQUEEZE}")
    if single.shape != logits[:1].shape:
        said = f"for one image it returns {list(single.shape)}, not {list(logits[:1].shape)}"
        raise InputError(f"module: {said}; {IN_PLACE_OF_SQUEEZE}")


@torch.no_grad()
def _result(module: nn.Module, images: Tensor) -> object:
    """Return the result of the module, or the exception that it raises."""
    try:
        return module(images)
    except Exception as error:  # of any kind: the module is the user's
        return error
