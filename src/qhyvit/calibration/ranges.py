"""What a site's operand looks like over the calibration images: extremes of every channel, and the exact tails of the whole tensor."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TAIL_SHARE = 1e-3  # percentiles from 99.9 on are exact
CHUNK = 32  # values of which the largest is looked at first
TENSORS = ("lows", "highs", "low_tail", "high_tail")


@dataclass(frozen=True)
class Range:
    """Extremes ``lows`` and ``highs`` [B, C] of the channels (or heads) in each batch, and the tails of all values, the most extreme first.

    ``counts`` says how many values each batch has.
    """

    lows: Tensor
    highs: Tensor
    low_tail: Tensor
    high_tail: Tensor
    counts: tuple[int, ...]

    @property
    def low(self) -> Tensor:
        """The smallest value of each channel [C]."""
        return self.lows.amin(0)

    @property
    def high(self) -> Tensor:
        """The largest value of each channel [C]."""
        return self.highs.amax(0)

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def without(self, batch: int) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each channel [C] in all other batches."""
        others = torch.arange(len(self.counts)) != batch
        return self.lows[others].amin(0), self.highs[others].amax(0)

    def percentile(self, percent: float) -> tuple[Tensor, Tensor]:
        """The values that ``percent`` % of the tensor stay above and below, interpolated linearly between neighbours.

        Raises ValueError below the 99.9 % that the tails hold.
        """
        rank = (1 - percent / 100) * (self.count - 1)
        if not 0 <= rank <= len(self.low_tail) - 1:
            raise ValueError(f"percentile {percent} is outside [{100 * (1 - TAIL_SHARE)}, 100]")
        return _interpolate(self.low_tail, rank), _interpolate(self.high_tail, rank)


def tail_length(count: int) -> int:
    """How many extreme values must be kept of ``count``."""
    return min(count, math.ceil(TAIL_SHARE * count) + 1)


def observe(x: Tensor, axis: int | None, batches: int) -> Range:
    """The range of one of ``batches`` batches; ``axis`` tells the channels apart (None: there is but one)."""
    channels = x.reshape(1, -1) if axis is None else x.movedim(axis, 0).flatten(1)
    keep = min(x.numel(), tail_length(x.numel() * batches))
    flat = x.flatten()
    return Range(
        lows=channels.amin(1)[None],
        highs=channels.amax(1)[None],
        low_tail=-largest(-flat, keep),
        high_tail=largest(flat, keep),
        counts=(x.numel(),),
    )


def largest(x: Tensor, count: int) -> Tensor:
    """The ``count`` largest values of x [n], the largest first.

    They are not below the ``count``-th largest of the maxima of chunks, so that only what is not below it need be sorted.
    """
    chunks = x[: len(x) // CHUNK * CHUNK].view(CHUNK, -1).amax(0)
    if count > len(chunks):
        return x.topk(count).values
    return x[x >= chunks.topk(count).values[-1]].topk(count).values


def merge(parts: list[Range]) -> Range:
    """The range of all batches together."""
    counts = tuple(count for part in parts for count in part.counts)
    keep = tail_length(sum(counts))
    lows, highs, low_tail, high_tail = (torch.cat([getattr(part, name) for part in parts]) for name in TENSORS)
    return Range(lows, highs, low_tail.topk(keep, largest=False).values, high_tail.topk(keep).values, counts)


def _interpolate(values: Tensor, rank: float) -> Tensor:
    below, above = values[math.floor(rank)], values[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))
