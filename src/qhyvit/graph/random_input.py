"""Random input on which graphs are compared: on a black image, wrong graphs may be right."""

import torch
from torch import Tensor


def random_like(example: Tensor) -> Tensor:
    """Return normal values of the shape of ``example``, the same at each call; a copy of ``example`` if it holds integers."""
    if not example.is_floating_point():
        return example.clone()
    return torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
