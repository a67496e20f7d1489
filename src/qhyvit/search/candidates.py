"""The quantizers among which a search chooses for one operand of a site."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.uniform import Scheme, UniformQuantizer, grid_limits, range_to_grid
from qhyvit.search.objectives import Objective, by_gram_matrix, chunk_size, summed_by_batch
from qhyvit.search.site_problem import Problem

SHORTLIST, FINALISTS = 12, 5  # how many candidates are compared on some rows, and on all
STAGES = ((48, 32), (160, SHORTLIST))  # on how many rows all are compared first, and how many of them are left
SOME_ROWS = 256
COMMON_ROWS = 256  # on which quantizers with one factor for all units are compared


@dataclass
class Candidates(ABC):
    """A numbered family of quantizers for one operand; each quantization unit, of ``units``, may take its own number.

    Ever fewer are compared on ever more rows, but for an ``exhaustive`` family, which is compared on all rows alone. A search for the
    bottom of a basin would not do: the losses of 8 bits are jagged. ``left``, int64 [m, units], are the numbers that may still be taken
    (None: all).
    """

    problem: Problem
    operand: str
    objective: Objective
    exhaustive: bool = False
    left: Tensor | None = None

    @property
    def granularity(self) -> str:
        """Whether the whole tensor or every channel takes its own number."""
        return "per_tensor"

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def start(self) -> Quantizer:
        """The quantizer before any search."""

    @abstractmethod
    def quantizer(self, index: Tensor) -> Quantizer:
        """The quantizer with the numbers ``index`` [units]."""

    @abstractmethod
    def rows(self, problem: Problem, index: Tensor) -> Tensor:
        """The operand's rows in ``problem`` by the candidates ``index`` [m, units], along the axis of the candidates."""

    def shortlist(self) -> Self:
        """The family with those candidates alone that are best on a sample of the rows, beside the other operand as it is, unquantized.

        Where there are few rows, all candidates stay.
        """
        *_, (most, _) = STAGES
        family = self
        if not self.exhaustive and self.problem.sampled(self.operand, most) is not self.problem:
            for rows, count in STAGES:
                _, family = family._least(family.losses(None, family._numbers, rows), count)
        return family

    def unsampled(self, other: Quantizer) -> tuple[float, Quantizer, Self]:
        """What `best` says of all candidates, and the family of the few best, in which no sample has a say from then on."""
        family = copy(self)
        family.exhaustive, family.left = True, None
        loss, shortlist = family._least(family.losses(other, family._numbers), SHORTLIST)
        return loss, self.quantizer(shortlist._numbers[0]), shortlist

    def finalists(self, other: Quantizer) -> tuple[float, Self]:
        """The family with the few that are best on some rows, beside the quantizer of the other operand, and the least loss there."""
        return self._least(self.losses(other, self._numbers, None if self.exhaustive else SOME_ROWS), FINALISTS)

    def best(self, other: Quantizer) -> tuple[float, Quantizer]:
        """The least loss on all rows, and its quantizer, beside the quantizer of the other operand."""
        loss, best = self._least(self.losses(other, self._numbers), 1)
        return loss, self.quantizer(best._numbers[0])

    def losses(self, other: Quantizer | None, index: Tensor, rows: int | None = None) -> Tensor:
        """The losses [m, units] of the candidates ``index`` [m, units] on some or all rows, beside the other operand's quantizer if any."""
        problem = self.problem if rows is None else self.problem.sampled(self.operand, rows)
        return self._losses(problem, self.granularity, other, index)

    @property
    def _numbers(self) -> Tensor:
        if self.left is not None:
            return self.left
        units = self.problem.units(self.operand, self.granularity)
        return torch.arange(len(self)).view(-1, *[1] * len(units)).expand(-1, *units)

    def _least(self, losses: Tensor, count: int) -> tuple[float, Self]:
        least, places = losses.sort(dim=0, stable=True)  # of equals the first
        family = copy(self)
        family.left = self._numbers.gather(0, places[:count])
        return float(least[0].sum()), family

    def _losses(self, problem: Problem, granularity: str, other: Quantizer | None, index: Tensor) -> Tensor:
        if summed_by_batch(self.objective, problem, self.operand):
            return sum((self._losses(part, granularity, other, index) for part in problem.by_batch), torch.zeros(()))
        (other_name,) = set(problem.tensors) - {self.operand}
        fixed = problem.quantized(other_name, other)
        free = by_gram_matrix(self.objective, problem, self.operand)
        parts = index.split(len(index) if free else chunk_size(problem, self.operand))
        return torch.cat([self.objective(problem, self.operand, granularity, self.rows(problem, part), fixed) for part in parts])


@dataclass(kw_only=True)
class UniformCandidates(Candidates):
    """The uniform quantizers of one granularity and scheme that cover a factor [n] of the range of each quantization unit.

    When ``cross_validated``, no batch of images widens the range that it is rounded with beyond that of all others, since what will be seen
    later has no say in the range either: that of a channel is soon left. And a channel that was silent, as may be after a ReLU, has the
    tensor's range, for on other images it may speak.
    """

    bits: int
    unit: str
    scheme: Scheme
    factors: Tensor
    cross_validated: bool = False

    @property
    def granularity(self) -> str:
        """That of the quantizers."""
        return self.unit

    def __len__(self) -> int:
        return len(self.factors)

    def start(self) -> UniformQuantizer:
        """The quantizer that covers the full range."""
        return self._covering(torch.tensor(1.0))

    def quantizer(self, index: Tensor) -> UniformQuantizer:
        """The quantizer with the factors ``index`` [units]."""
        return self._covering(self.factors[index])

    def rows(self, problem: Problem, index: Tensor) -> Tensor:
        """The operand's rows by the candidates ``index`` [m, units]."""
        places = self._by_channel(index)
        scale, zero_point = (grid.gather(1, places.expand(len(grid), -1, -1)) for grid in self._grids)
        return problem.candidates(self.operand, scale, zero_point, grid_limits(self.bits, self.scheme))

    def best_common(self, other: Quantizer, count: int) -> list[tuple[float, UniformQuantizer]]:
        """The ``count`` best by the site's own loss of those quantizers that have one factor for all units, with their losses."""
        places = torch.arange(len(self))
        index = places[:, None] if self.granularity == "per_channel" else places
        losses = self._losses(self.problem.sampled(self.operand, COMMON_ROWS), "per_tensor", other, index)
        least, best = losses.topk(min(count, len(self)), largest=False)
        return list(zip(least.tolist(), map(self.quantizer, index[best]), strict=True))

    @cached_property
    def _grids(self) -> tuple[Tensor, Tensor]:
        """The scales and zero points of all candidates [B, n, C], or [B, n, 1] of the tensor, for all batches (B = 1) or for each.

        What the family later shrinks to shares them.
        """
        factors = self.factors[None, :, None]
        low, high = (factors * bound for bound in self._range(*self.problem.channel_ranges[self.operand]))
        if self.cross_validated:
            lowest, highest = (factors.clamp(min=1) * bound[:, None] for bound in self._range(*self.problem.ranges_of_others[self.operand]))
            low, high = torch.maximum(low, lowest), torch.minimum(high, highest)
        return range_to_grid(low, high, self.bits, self.scheme)

    def _covering(self, factor: Tensor) -> UniformQuantizer:
        low, high = (self._by_channel(factor) * bound for bound in self._range(*self.problem.channel_ranges[self.operand]))
        if self.granularity == "per_tensor":
            return UniformQuantizer.covering(low[0], high[0], self.bits, self.scheme)
        return UniformQuantizer.covering(low, high, self.bits, self.scheme, self.problem.site.axis(self.operand))

    def _by_channel(self, factor: Tensor) -> Tensor:
        """Factors [..., units] to the channels [..., C], or those of the tensor [...] to [..., 1]."""
        return factor[..., None] if self.granularity == "per_tensor" else self.problem.by_channel(self.operand, factor)

    def _range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The ranges [..., C or 1] of the units that have those of the channels [..., C]."""
        lowest, highest = low.amin(-1, keepdim=True), high.amax(-1, keepdim=True)
        if self.granularity == "per_tensor":
            return lowest, highest
        if not self.cross_validated:
            return low, high
        silent = (low == 0) & (high == 0)
        return torch.where(silent, lowest, low), torch.where(silent, highest, high)


@dataclass(kw_only=True)
class ListedCandidates(Candidates):
    """Quantizers of any kind for the whole tensor, one by one; the first is the start."""

    quantizers: Sequence[Quantizer]

    def __len__(self) -> int:
        return len(self.quantizers)

    def start(self) -> Quantizer:
        """The first of the list."""
        return self.quantizers[0]

    def quantizer(self, index: Tensor) -> Quantizer:
        """The quantizer in place ``index`` []."""
        return self.quantizers[int(index)]

    def rows(self, problem: Problem, index: Tensor) -> Tensor:
        """The operand's rows by the candidates ``index`` [m]."""
        return problem.listed(self.operand, [self.quantizers[place] for place in index.tolist()])
