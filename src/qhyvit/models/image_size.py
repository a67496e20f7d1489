"""Fit EfficientFormers to another image size: their attention biases belong to a grid of tokens, and so to an image size."""

import math
from collections.abc import Mapping

import torch.nn.functional as F
from timm.models.efficientformer import Attention
from torch import Tensor, nn

STRIDE = 32  # of the last stage, where EfficientFormerV1 attends


def fit_attention_to_size(model: nn.Module, size: int) -> None:
    """Give an EfficientFormerV1 attention biases for images of ``size`` pixels a side; timm always builds them for 224."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Attention):
            fitted = Attention(module.qkv.in_features, module.key_dim, module.num_heads, module.attn_ratio, math.ceil(size / STRIDE))
            model.set_submodule(name, fitted)


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict strictly, with its attention biases resized to the image size that ``model`` is built for.

    Raises RuntimeError for keys or shapes that do not fit.
    """
    model.load_state_dict(fitted(model, state))


def fitted(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with its attention biases resized to the image size that ``model`` is built for."""
    own = model.state_dict()
    return {name: _resized_to(name, tensor, own.get(name, tensor)) for name, tensor in state.items()}


def _resized_to(name: str, tensor: Tensor, own: Tensor) -> Tensor:
    if name.endswith("attention_bias_idxs"):
        return own
    if not name.endswith("attention_biases") or tensor.shape == own.shape:
        return tensor
    resizable = tensor.ndim == own.ndim == 2 and tensor.numel() > 0 and _is_square(tensor.shape[1])
    return _resized(tensor, math.isqrt(own.shape[1])) if resizable else tensor


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count


def _resized(biases: Tensor, side: int) -> Tensor:
    """Resize biases [heads, rows x columns] of a square grid to [heads, side x side], bilinearly in the distances."""
    grid = biases.unflatten(1, (math.isqrt(biases.shape[1]), -1))
    return F.interpolate(grid[None], size=(side, side), mode="bilinear", align_corners=True)[0].flatten(1)
