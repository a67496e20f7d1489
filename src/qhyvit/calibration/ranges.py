"""Range of an operand over the calibration images: channel extremes, and exact tails of the whole tensor."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TAIL_SHARE = 1e-3  # percentiles from 99.9 on are exact
CHUNK = 16  # values of which only the most extreme is compared first
TENSORS = ("lows", "highs", "low_tail", "high_tail")


@dataclass(frozen=True)
class Range:
    """Extremes ``lows`` and ``highs`` [B, C] of the channels (or heads) in each batch, and the tails of all values.

    Once all batches are included, the tails are sorted, the most extreme first. ``counts`` are the numbers of values per batch.
    """

    lows: Tensor
    highs: Tensor
    low_tail: Tensor
    high_tail: Tensor
    counts: tuple[int, ...]

    @property
    def low(self) -> Tensor:
        """Smallest value of each channel [C]."""
        return self.lows.amin(0)

    @property
    def high(self) -> Tensor:
        """Largest value of each channel [C]."""
        return self.highs.amax(0)

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.counts)

    def of_others(self) -> tuple[Tensor, Tensor]:
        """Return the smallest and largest value of each channel in all batches except one [B, C]; of a single batch its own."""
        if len(self.counts) == 1:
            return self.lows, self.highs
        return _least_of_others(self.lows), -_least_of_others(-self.highs)

    def percentile(self, percent: float) -> tuple[Tensor, Tensor]:
        """Return the values that ``percent`` % of the tensor stay above and below, interpolated linearly between neighbours.

        Raises ValueError below the 99.9 % that the tails hold.
        """
        rank = (1 - percent / 100) * (self.count - 1)
        if not 0 <= rank <= len(self.low_tail) - 1:
            raise ValueError(f"percentile {percent} is outside [{100 * (1 - TAIL_SHARE)}, 100]")
        return _interpolate(self.low_tail, rank), _interpolate(self.high_tail, rank)


def tail_length(count: int) -> int:
    """Return how many extreme values of ``count`` must be kept."""
    return min(count, math.ceil(TAIL_SHARE * count) + 1)


def observe(x: Tensor, axis: int | None, batches: int, before: Range | None = None) -> Range:
    """Return the range of the first of ``batches`` batches, or of the range ``before`` and the next batch.

    Batches are of one size, except a smaller last one. ``axis`` is the axis of the channels (None: there is only one).
    """
    x = x.contiguous()  # the heads of an attention are views, with short loops
    others = [other for other in range(x.ndim) if axis is None or other != axis % x.ndim]
    lows, highs, flat = x.amin(others).view(1, -1), x.amax(others).view(1, -1), x.flatten()
    counts = (x.numel(),) if before is None else (*before.counts, x.numel())
    keep = tail_length(sum(counts) + x.numel() * (batches - len(counts)))
    if before is None:
        low_tail, high_tail = (extremes(flat, min(keep, x.numel()), largest=largest) for largest in (False, True))
    else:
        lows, highs = torch.cat([before.lows, lows]), torch.cat([before.highs, highs])
        low_tail = _extended(before.low_tail, flat, keep, largest=False)
        high_tail = _extended(before.high_tail, flat, keep, largest=True)
    if len(counts) == batches:  # until then, the order of a tail does not matter
        low_tail, high_tail = low_tail.sort().values, high_tail.sort(descending=True).values
    return Range(lows, highs, low_tail, high_tail, counts)


def extremes(x: Tensor, count: int, *, largest: bool) -> Tensor:
    """Return the ``count`` largest, or smallest, values of x [n], in any order.

    None is less extreme than the ``count``-th of the extremes of chunks, so that only more extreme values need be compared.
    """
    candidates = _extremes_of(_chunks(x), largest)
    if count > len(candidates):
        return _most_extreme(x, count, largest)
    return _extended(_last(_most_extreme(candidates, count, largest), largest).expand(count), x, count, largest=largest)


def _extended(tail: Tensor, x: Tensor, count: int, *, largest: bool) -> Tensor:
    """Return the ``count`` extremes, or all, of a ``tail`` and of x [n], of which few are beyond a full tail's last."""
    both = torch.cat([tail, x if len(tail) < count else _beyond(x, _last(tail, largest), largest)])
    return _most_extreme(both, min(count, len(both)), largest)


def _last(tail: Tensor, largest: bool) -> Tensor:
    return tail.amin() if largest else tail.amax()


def _most_extreme(x: Tensor, count: int, largest: bool) -> Tensor:
    return x.topk(count, largest=largest, sorted=False).values


def _beyond(x: Tensor, last: Tensor, largest: bool) -> Tensor:
    """Return the values of x [n] that are more extreme than the ``last`` of a tail; most chunks have none."""
    beyond = torch.gt if largest else torch.lt
    chunks = _chunks(x)
    loud = chunks.index_select(1, beyond(_extremes_of(chunks, largest), last).nonzero()[:, 0])
    candidates = torch.cat([loud.flatten(), x[chunks.numel() :]])
    return candidates[beyond(candidates, last)]


def _extremes_of(chunks: Tensor, largest: bool) -> Tensor:
    return chunks.amax(0) if largest else chunks.amin(0)


def _chunks(x: Tensor) -> Tensor:
    """Return the values of x [n] without the last few, one column per chunk."""
    return x[: len(x) // CHUNK * CHUNK].view(CHUNK, -1)


def _interpolate(values: Tensor, rank: float) -> Tensor:
    below, above = values[math.floor(rank)], values[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))


def _least_of_others(x: Tensor) -> Tensor:
    """Return the least values of the columns of x [B, C] without one row [B, C]: the least, or in its own row the next."""
    least, following = x.sort(dim=0).values[:2]
    return torch.where(x == least, following, least)
