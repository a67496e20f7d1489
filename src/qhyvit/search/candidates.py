"""The quantizers among which a search chooses for one operand of a site."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qhyvit.quantizers.store import Quantizer
from qhyvit.quantizers.uniform import Scheme, UniformQuantizer, grid_limits, range_to_grid
from qhyvit.search.objectives import Objective, by_gram_matrix, chunk_size
from qhyvit.search.problem import Problem
from qhyvit.search.strategies import Strategy, shortlisted

COMMON_ROWS = 256  # on which quantizers with one factor for all units are compared


@dataclass(frozen=True)
class Candidates(ABC):
    """A numbered family of quantizers for one operand; each quantization unit, of ``units``, may take its own number."""

    problem: Problem
    operand: str
    objective: Objective
    strategy: Strategy = shortlisted

    @property
    def granularity(self) -> str:
        """Whether the whole tensor or every channel takes its own number."""
        return "tensor"

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

    def best(self, other: Quantizer) -> tuple[float, Quantizer]:
        """The loss and the quantizer with the least, beside the quantizer of the other operand."""
        units = self.problem.units(self.operand, self.granularity)
        everything = torch.arange(len(self)).view(-1, *[1] * len(units)).expand(-1, *units)
        index, losses = self.strategy(lambda index, rows: self.losses(other, index, rows), everything)
        return float(losses.sum()), self.quantizer(index)

    def losses(self, other: Quantizer, index: Tensor, rows: int | None = None) -> Tensor:
        """The losses [m, units] of the candidates ``index`` [m, units] on some or all rows, beside the other operand's quantizer."""
        problem = self.problem if rows is None else self.problem.sampled(self.operand, rows)
        return self._losses(problem, self.granularity, other, index)

    def _losses(self, problem: Problem, granularity: str, other: Quantizer, index: Tensor) -> Tensor:
        (other_name,) = set(problem.tensors) - {self.operand}
        fixed = problem.quantized(other_name, other)
        free = by_gram_matrix(self.objective, problem, self.operand)
        parts = index.split(len(index) if free else chunk_size(problem, self.operand))
        return torch.cat([self.objective(problem, self.operand, granularity, self.rows(problem, part), fixed) for part in parts])


@dataclass(frozen=True, kw_only=True)
class UniformCandidates(Candidates):
    """The uniform quantizers of one granularity and scheme that cover a factor [n] of the range of each quantization unit.

    When ``cross_validated``, no batch of images widens the range that it is rounded with beyond that of all others, since what will be seen
    later has no say in the range either: that of a channel is soon left. A sample of the rows, for a shortlist, has the range of all. And a
    channel that was silent, as may be after a ReLU, has the tensor's range, for on other images it may speak.
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
        return problem.candidates(self.operand, *self._grids(problem, self.factors[index]), grid_limits(self.bits, self.scheme))

    def _losses(self, problem: Problem, granularity: str, other: Quantizer, index: Tensor) -> Tensor:
        batches = problem.by_batch if self.cross_validated and problem is self.problem else [problem]
        losses_of = super()._losses
        return torch.stack([losses_of(batch, granularity, other, index) for batch in batches]).sum(0)

    def best_common(self, other: Quantizer, count: int) -> list[UniformQuantizer]:
        """The ``count`` best by the site's own loss of those quantizers that have one factor for all units."""
        places = torch.arange(len(self))
        index = places[:, None] if self.granularity == "channel" else places
        found = self._losses(self.problem.sampled(self.operand, COMMON_ROWS), "tensor", other, index)
        return [self.quantizer(index[place]) for place in found.topk(min(count, len(self)), largest=False).indices]

    def _covering(self, factor: Tensor) -> UniformQuantizer:
        axis = None if self.granularity == "tensor" else self.problem.site.axis(self.operand)
        return UniformQuantizer(self.bits, self.scheme, *self._grids(self.problem, factor), axis=axis)

    def _grids(self, problem: Problem, factor: Tensor) -> tuple[Tensor, Tensor]:
        factors = self.problem.by_channel(self.operand, factor) if self.granularity == "channel" else factor
        low, high = (factors * bound for bound in self._range(self.problem))
        if self.cross_validated:
            lowest, highest = (factors.clamp(min=1) * bound for bound in self._range(problem))
            low, high = torch.maximum(low, lowest), torch.minimum(high, highest)
        return range_to_grid(low, high, self.bits, self.scheme)

    def _range(self, problem: Problem) -> tuple[Tensor, Tensor]:
        low, high = problem.range(self.operand, self.granularity)
        if not self.cross_validated:
            return low, high
        lowest, highest = problem.range(self.operand, "tensor")
        silent = (low == 0) & (high == 0)
        return torch.where(silent, lowest, low), torch.where(silent, highest, high)


@dataclass(frozen=True, kw_only=True)
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
