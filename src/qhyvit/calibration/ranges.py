"""What a site's operand looks like over the calibration images: extremes of every channel, and the exact tails of the whole tensor."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TAIL_SHARE = 1e-3  # percentiles from 99.9 on are exact
CHUNK = 32  # values of which the largest is looked at first


@dataclass(frozen=True)
class Range:
    """Extremes ``low`` and ``high`` [C] of the channels (or heads), and the tails of all ``count`` values, the most extreme first."""

    low: Tensor
    high: Tensor
    low_tail: Tensor
    high_tail: Tensor
    count: int

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
        low=channels.amin(1), high=channels.amax(1), low_tail=-largest(-flat, keep), high_tail=largest(flat, keep), count=x.numel()
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
    count = sum(part.count for part in parts)
    keep = tail_length(count)
    low_tail, high_tail = (torch.cat([getattr(part, name) for part in parts]) for name in ("low_tail", "high_tail"))
    return Range(
        low=torch.stack([part.low for part in parts]).amin(0),
        high=torch.stack([part.high for part in parts]).amax(0),
        low_tail=low_tail.topk(keep, largest=False).values,
        high_tail=high_tail.topk(keep).values,
        count=count,
    )


def _interpolate(values: Tensor, rank: float) -> Tensor:
    below, above = values[math.floor(rank)], values[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))
