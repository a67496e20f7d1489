"""Which of n candidate scales are tried. Each quantization unit is searched by itself, all units at once.

A strategy is given ``losses_of``, which takes the index of one candidate for each unit, int64 [units], and returns their losses [units].
"""

from collections.abc import Callable

import torch
from torch import Tensor

Strategy = Callable[[Callable[[Tensor], Tensor], int, Tensor], tuple[Tensor, Tensor]]
COARSE_STEP = 8


def exhaustive(losses_of: Callable[[Tensor], Tensor], count: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """The best of all ``count`` candidates: indices and losses, of the shape of ``start`` (whose values do not matter)."""
    return _best_of(losses_of, [torch.full_like(start, index) for index in range(count)])


def coarse_to_fine(losses_of: Callable[[Tensor], Tensor], count: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """The best of every eighth candidate, then of its neighbours at 4, 2 and 1 steps: some 20 evaluations of 100.

    For losses with one basin, as those of activations mostly are; those of weights at 8 bits are too jagged.
    """
    best, loss = _best_of(losses_of, [torch.full_like(start, index) for index in range(0, count, COARSE_STEP)])
    step = COARSE_STEP // 2
    while step:
        for neighbour in ((best - step).clamp(min=0), (best + step).clamp(max=count - 1)):
            found = losses_of(neighbour)
            best, loss = torch.where(found < loss, neighbour, best), torch.minimum(found, loss)
        step //= 2
    return best, loss


def _best_of(losses_of: Callable[[Tensor], Tensor], candidates: list[Tensor]) -> tuple[Tensor, Tensor]:
    losses = torch.stack([losses_of(candidate) for candidate in candidates])
    least = losses.min(dim=0)
    return torch.stack(candidates).gather(0, least.indices[None])[0], least.values
