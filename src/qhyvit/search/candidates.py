"""Families of candidate quantizers for one operand of a site."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from qhyvit.config.base import Scheme, ZeroPoint
from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.uniform import GRIDS, UniformQuantizer, grid_limits
from qhyvit.search.objectives import Objective, chunk_size
from qhyvit.search.site_problem import SiteProblem
from qhyvit.search.subsample import by_batch, one_in, sampled

SHORTLIST, FINALISTS = 12, 5  # candidates compared on some rows, and on all
STAGES = ((48, 32), (160, SHORTLIST))  # rows on which all candidates are compared first, and how many candidates remain
SOME_ROWS = 256
COMMON_ROWS = 256  # rows on which quantizers with one scale multiplier for all units are compared
BOUND_STEP = 8  # one row in so many shows which of these quantizers cannot be the best
ROUNDING = 1e-3  # far more than the relative rounding error of a loss


@dataclass
class Candidates(ABC):
    """A numbered family of quantizers for one operand; each quantization unit, of ``units``, may take its own number.

    Fewer and fewer candidates are compared on more and more rows, except in an ``exhaustive`` family, which is compared on all rows.
    A descent would not do: losses at 8 bits are jagged. ``remaining``, int64 [m, units], are the numbers that may still be taken (None:
    all).
    """

    problem: SiteProblem
    operand: str
    objective: Objective
    exhaustive: bool = False
    remaining: Tensor | None = None
    granularity: str = "per_tensor"

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def start(self) -> Quantizer:
        """Return the quantizer before any search."""

    @abstractmethod
    def quantizer(self, index: Tensor) -> Quantizer:
        """Return the quantizer with the numbers ``index`` [units]."""

    @abstractmethod
    def rows(self, problem: SiteProblem, index: Tensor) -> Tensor:
        """Return the operand's rows in ``problem`` by the candidates ``index`` [m, units], along the axis of the candidates."""

    def shortlist(self) -> Self:
        """Return the family with those candidates that are best on a sample of the rows, with the other operand unquantized.

        Where there are few rows, all candidates remain.
        """
        *_, (most, _) = STAGES
        family = self
        if not self.exhaustive and sampled(self.problem, self.operand, most) is not self.problem:
            for rows, count in STAGES:
                _, family = family._least(family.losses(None, family._numbers, rows), count)
        return family

    def unsampled(self, other: Quantizer) -> tuple[float, Quantizer, Self]:
        """Return the least loss of all candidates on all rows, its quantizer, and the exhaustive family of the few best."""
        family = copy(self)
        family.exhaustive, family.remaining = True, None
        loss, shortlist = family._least(family.losses(other, family._numbers), SHORTLIST)
        return loss, self.quantizer(shortlist._numbers[0]), shortlist

    def finalists(self, other: Quantizer) -> tuple[float, Self]:
        """Return the least loss on some rows, given the other operand's quantizer, and the family of the few best there."""
        return self._least(self.losses(other, self._numbers, None if self.exhaustive else SOME_ROWS), FINALISTS)

    def best(self, other: Quantizer) -> tuple[float, Quantizer]:
        """Return the least loss on all rows and its quantizer, given the quantizer of the other operand."""
        loss, best = self._least(self.losses(other, self._numbers), 1)
        return loss, self.quantizer(best._numbers[0])

    def losses(self, other: Quantizer | None, index: Tensor, rows: int | None = None) -> Tensor:
        """Return the losses [m, units] of the candidates ``index`` [m, units] on some or all rows, given the other quantizer if any."""
        problem = self.problem if rows is None else sampled(self.problem, self.operand, rows)
        return self._losses(problem, self.granularity, other, index)

    @property
    def _numbers(self) -> Tensor:
        if self.remaining is not None:
            return self.remaining
        units = self.problem.units(self.operand, self.granularity)
        return torch.arange(len(self)).view(-1, *[1] * len(units)).expand(-1, *units)

    def _least(self, losses: Tensor, count: int) -> tuple[float, Self]:
        least, places = losses.sort(dim=0, stable=True)  # of equals the first
        family = copy(self)
        family.remaining = self._numbers.gather(0, places[:count])
        return float(least[0].sum()), family

    def _losses(self, problem: SiteProblem, granularity: str, other: Quantizer | None, index: Tensor) -> Tensor:
        if self.objective.is_split_by_batch(problem, self.operand):
            return sum((self._losses(part, granularity, other, index) for part in by_batch(problem)), torch.zeros(()))
        (other_name,) = set(problem.tensors) - {self.operand}
        fixed = problem.quantized(other_name, other)
        cheap = self.objective.has_closed_form(problem, self.operand)
        parts = index.split(len(index) if cheap else chunk_size(problem, self.operand))
        return torch.cat([self.objective.losses(problem, self.operand, granularity, self.rows(problem, part), fixed) for part in parts])


@dataclass(kw_only=True)
class UniformCandidates(Candidates):
    """Uniform quantizers of one granularity and scheme that cover ``scale_multipliers`` [n] times the range of each quantization unit.

    If ``cross_validated``, the grid for a batch of images is clipped to the range of all other batches, times a multiplier above 1. Later
    images do not influence ranges either, so this penalizes channels whose ranges vary between images. A channel that is all zero on the
    calibration set (e.g. after ReLU) gets the per-tensor range.
    """

    bits: int
    scheme: Scheme
    scale_multipliers: Tensor
    zero_point: ZeroPoint = "widened"
    cross_validated: bool = False

    def __len__(self) -> int:
        return len(self.scale_multipliers)

    def start(self) -> UniformQuantizer:
        """Return the quantizer that covers the full range."""
        return self._covering(torch.tensor(1.0))

    def quantizer(self, index: Tensor) -> UniformQuantizer:
        """Return the quantizer with the multipliers in places ``index`` [units]."""
        return self._covering(self.scale_multipliers[index])

    def rows(self, problem: SiteProblem, index: Tensor) -> Tensor:
        """Return the operand's rows by the candidates ``index`` [m, units]."""
        places = self._by_channel(index)
        scale, zero_point = (grid.gather(1, places.expand(len(grid), -1, -1)) for grid in self._grids)
        return problem.on_grids(self.operand, scale, zero_point, grid_limits(self.bits, self.scheme))

    def common(self) -> list[UniformQuantizer]:
        """Return all quantizers with one multiplier for all units."""
        return list(map(self.quantizer, self._common_numbers))

    def best_common(self, other: Quantizer, count: int) -> list[tuple[float, UniformQuantizer]]:
        """Return the ``count`` best quantizers with one multiplier for all units, by the site's own loss, with their losses."""
        problem, count = sampled(self.problem, self.operand, COMMON_ROWS), min(count, len(self))
        index = self._common_within_bound(problem, other, count)
        least, best = self._losses(problem, "per_tensor", other, index).topk(count, largest=False)
        return list(zip(least.tolist(), map(self.quantizer, index[best]), strict=True))

    def _common_within_bound(self, problem: SiteProblem, other: Quantizer, count: int) -> Tensor:
        """Return the numbers with one multiplier for all units that may have the ``count`` least losses.

        The terms of a loss are not negative, so that the loss on some rows is a lower bound.
        """
        index = self._common_numbers
        bounds = self._losses(one_in(problem, BOUND_STEP), "per_tensor", other, index)
        reached = self._losses(problem, "per_tensor", other, index[bounds.topk(count, largest=False).indices]).max()
        return index[~(bounds > (1 + ROUNDING) * reached)]

    @property
    def _common_numbers(self) -> Tensor:
        places = torch.arange(len(self))
        return places[:, None] if self.granularity == "per_channel" else places

    @cached_property
    def _grids(self) -> tuple[Tensor, Tensor]:
        """Scales and zero points of all candidates [B, n, C], or [B, n, 1] per tensor, for all batches (B = 1) or per batch.

        Families that are made from this one share them.
        """
        multipliers = self.scale_multipliers[None, :, None]
        low, high = (multipliers * bound for bound in self._range(*self.problem.channel_ranges[self.operand]))
        if self.cross_validated:
            bounds = self._range(*self.problem.ranges_of_others[self.operand])
            lowest, highest = (multipliers.clamp(min=1) * bound[:, None] for bound in bounds)
            low, high = torch.maximum(low, lowest), torch.minimum(high, highest)
        return GRIDS[self.zero_point](low, high, self.bits, self.scheme)

    def _covering(self, multiplier: Tensor) -> UniformQuantizer:
        low, high = (self._by_channel(multiplier) * bound for bound in self._range(*self.problem.channel_ranges[self.operand]))
        if self.granularity == "per_tensor":
            return UniformQuantizer.covering(low[0], high[0], self.bits, self.scheme, zero_point=self.zero_point)
        return UniformQuantizer.covering(low, high, self.bits, self.scheme, self.problem.site.axis(self.operand), self.zero_point)

    def _by_channel(self, per_unit: Tensor) -> Tensor:
        """Bring values per unit [..., units] to the channels [..., C], or values per tensor [...] to [..., 1]."""
        if self.granularity == "per_tensor":
            return per_unit[..., None]
        return self.problem.by_channel(self.operand, self.granularity, per_unit)

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ranges of the units [..., C or 1], given the ranges of the channels [..., C]."""
        lowest, highest = low.amin(-1, keepdim=True), high.amax(-1, keepdim=True)
        if self.granularity == "per_tensor":
            return lowest, highest
        if self.granularity == "per_part":
            return self.problem.extremes_of_parts(low, high)
        if not self.cross_validated:
            return low, high
        silent = (low == 0) & (high == 0)
        return torch.where(silent, lowest, low), torch.where(silent, highest, high)


@dataclass(kw_only=True)
class ListedCandidates(Candidates):
    """Per-tensor quantizers of any kind, one by one; the first is the start."""

    quantizers: Sequence[Quantizer]

    def __len__(self) -> int:
        return len(self.quantizers)

    def start(self) -> Quantizer:
        """Return the first quantizer of the list."""
        return self.quantizers[0]

    def quantizer(self, index: Tensor) -> Quantizer:
        """Return the quantizer in place ``index`` []."""
        return self.quantizers[int(index)]

    def rows(self, problem: SiteProblem, index: Tensor) -> Tensor:
        """Return the operand's rows by the candidates ``index`` [m]."""
        return problem.listed(self.operand, [self.quantizers[place] for place in index.tolist()])
