"""The search for the quantizers of a site: candidate scales of every granularity and scheme, one operand after the other.

With the exhaustive strategy and all rows it is the plain search that the literature runs, and the reference for faster ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from qhyvit.quantizers.store import Quantizer
from qhyvit.quantizers.uniform import Scheme, UniformQuantizer, grid_limits, range_to_grid
from qhyvit.search.candidates import Strategy, exhaustive
from qhyvit.search.objectives import Objective, fisher, losses
from qhyvit.search.problem import Problem

COMMON_ROWS = 512  # on which quantizers with one factor for all units are compared
HOPELESS = 1.5  # a granularity and scheme with so many times the least loss is not tried in further rounds
LEAST_GAIN = 0.005  # share of the loss that a further round must have removed for another one to follow


@dataclass(frozen=True)
class Choices:
    """What may be chosen for one operand: every combination of granularity and scheme, at these bits."""

    bits: int
    combinations: tuple[tuple[str, Scheme], ...]


@dataclass(frozen=True)
class Candidates:
    """The quantizers of an operand with one granularity and scheme that cover a factor of the range of each quantization unit."""

    problem: Problem
    operand: str
    bits: int
    granularity: str
    scheme: Scheme
    factors: Tensor
    objective: Objective

    def all(self) -> Tensor:
        """Every candidate for each unit: [n, units]."""
        units = self.problem.units(self.operand, self.granularity)
        return torch.arange(len(self.factors)).view(-1, *[1] * len(units)).expand(-1, *units)

    def losses(self, other: UniformQuantizer, index: Tensor, rows: int | None) -> Tensor:
        """The losses [m, units] of the candidates ``index`` [m, units] on some or all rows, beside the other operand's quantizer."""
        sample = self.problem if rows is None else self.problem.thinned(rows)
        grids, limits = self._grids(self.factors[index]), grid_limits(self.bits, self.scheme)
        return losses(self.objective, sample, self.operand, self.granularity, grids, limits, other)

    def best_common(self, other: UniformQuantizer, count: int) -> list[UniformQuantizer]:
        """The ``count`` best by the site's own loss of those quantizers that have one factor for all units."""
        factors = self.factors[:, None] if self.granularity == "channel" else self.factors
        sample, limits = self.problem.thinned(COMMON_ROWS), grid_limits(self.bits, self.scheme)
        found = losses(self.objective, sample, self.operand, "tensor", self._grids(factors), limits, other)
        return [self.covering(factors[place]) for place in found.topk(min(count, len(factors)), largest=False).indices]

    def quantizer(self, index: Tensor) -> UniformQuantizer:
        """The candidate ``index`` [units]."""
        return self.covering(self.factors[index])

    def covering(self, factor: Tensor) -> UniformQuantizer:
        """The quantizer for a factor of the range, of one number or one a unit."""
        axis = None if self.granularity == "tensor" else self.problem.site.axis(self.operand)
        return UniformQuantizer(self.bits, self.scheme, *self._grids(factor), axis=axis)

    def _grids(self, factor: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.problem.range(self.operand, self.granularity)
        repeated = self.problem.by_channel(self.operand, factor) if self.granularity == "channel" else factor
        return range_to_grid(repeated * low, repeated * high, self.bits, self.scheme)


def search(
    problem: Problem,
    choices: dict[str, Choices],
    factors: Tensor,
    rounds: int,
    strategy: Strategy = exhaustive,
    objective: Objective = fisher,
) -> dict[str, UniformQuantizer]:
    """The quantizers of both operands, found by alternating between them.

    ``factors`` [n] multiply the range of each quantization unit to make the candidates. The start is the first combination of each operand
    at its full range. Ends early when a round gains next to nothing, and
    leaves out combinations that have fallen far behind.
    """
    candidates = {
        operand: [Candidates(problem, operand, choice.bits, *combination, factors, objective) for combination in choice.combinations]
        for operand, choice in choices.items()
    }
    best = {operand: options[0].covering(torch.tensor(1.0)) for operand, options in candidates.items()}
    loss = float("inf")
    for _ in range(rounds):
        previous = loss
        for operand, other in (list(choices)[::-1], list(choices)):  # weights before activations, as in PTQ4ViT
            found = [_best_of(option, strategy, best[other]) for option in candidates[operand]]
            loss, best[operand] = min(found, key=lambda pair: pair[0])
            tried = zip(candidates[operand], found, strict=True)
            candidates[operand] = [option for option, (least, _) in tried if least <= HOPELESS * loss]
        if loss > (1 - LEAST_GAIN) * previous:
            break
    return best


def reconstruction_error(problem: Problem, quantizers: Mapping[str, Quantizer]) -> float:
    """The Fisher-weighted squared error of a site with the given quantizers, summed over the sampled rows."""
    left, right = (problem.quantized(operand, quantizers[operand]) for operand in problem.site.operands)
    return float((left @ right).sub_(problem.reference).mul_(problem.gradient).square_().sum())


def _best_of(candidates: Candidates, strategy: Strategy, other: UniformQuantizer) -> tuple[float, UniformQuantizer]:
    index, losses = strategy(partial(candidates.losses, other), candidates.all())
    return float(losses.sum()), candidates.quantizer(index)
