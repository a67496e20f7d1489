"""Which of the candidate scales are compared on all rows. Each quantization unit is searched by itself, all units at once.

A strategy is given ``losses_of``, which takes candidates by their index, int64 [m, units], and a number of rows (None: all), and returns
the losses [m, units] on these rows; and all candidates [n, units]. It returns the best, int64 [units], and their losses on all rows.
"""

from collections.abc import Callable

from torch import Tensor

Losses = Callable[[Tensor, int | None], Tensor]
Strategy = Callable[[Losses, Tensor], tuple[Tensor, Tensor]]
SAMPLED_ROWS = 128
SHORTLIST = 12


def exhaustive(losses_of: Losses, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The best of all candidates."""
    losses, places = losses_of(candidates, None).min(dim=0)
    return candidates.gather(0, places[None])[0], losses


def shortlisted(losses_of: Losses, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The best of those few that are best on a sample of the rows.

    Unlike a search for the bottom of a basin it copes with the losses of 8 bits, which are jagged.
    """
    places = losses_of(candidates, SAMPLED_ROWS).argsort(dim=0, stable=True)[:SHORTLIST]  # of equals the first
    return exhaustive(losses_of, candidates.gather(0, places))
