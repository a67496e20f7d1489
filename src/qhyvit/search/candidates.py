"""Which of the candidate scales are compared on all rows. Each quantization unit is searched by itself, all units at once.

A strategy is given ``losses_of``, which takes candidates by their index, int64 [m, units], and a number of rows (None: all), and returns
the losses [m, units] on these rows; and the candidates that are still in play. It returns those that remain, int64 [k, units], with their
losses on all rows.
"""

from collections.abc import Callable

from torch import Tensor

Losses = Callable[[Tensor, int | None], Tensor]
Strategy = Callable[[Losses, Tensor], tuple[Tensor, Tensor]]
SAMPLED_ROWS = 256
SHORTLIST, FINALISTS = 24, 12


def exhaustive(losses_of: Losses, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """All candidates remain."""
    return candidates, losses_of(candidates, None)


def successive_halving(losses_of: Losses, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Few remain: the best on a sample of the rows, and of these the best on all (after Jamieson and Talwalkar, arXiv 1502.07943).

    Unlike a search for the bottom of a basin it copes with the losses of 8 bits, which are jagged.
    """
    if len(candidates) > SHORTLIST:
        candidates, _ = _least(candidates, losses_of(candidates, SAMPLED_ROWS), SHORTLIST)
    return _least(candidates, losses_of(candidates, None), FINALISTS)


def _least(candidates: Tensor, losses: Tensor, count: int) -> tuple[Tensor, Tensor]:
    found = losses.topk(min(count, len(losses)), dim=0, largest=False)
    return candidates.gather(0, found.indices), found.values
