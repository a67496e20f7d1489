"""The plain search: candidate scales of every granularity and scheme, by the same objective, one operand after the other.

With the exhaustive strategy for both operands it is the reference that faster searches are measured against.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qhyvit.quantizers.uniform import Scheme, UniformQuantizer, range_to_grid
from qhyvit.search.candidates import Strategy, exhaustive
from qhyvit.search.problem import Problem


@dataclass(frozen=True)
class Choices:
    """What may be chosen for one operand: its bits, and every combination of granularity and scheme; and how scales are tried."""

    bits: int
    combinations: tuple[tuple[str, Scheme], ...]
    strategy: Strategy = exhaustive


def search(problem: Problem, choices: dict[str, Choices], factors: Tensor, rounds: int) -> dict[str, UniformQuantizer]:
    """The quantizers of both operands, found by alternating between them.

    ``factors`` [n] multiply the range of each quantization unit to make the candidates. The start is the first combination of each operand
    at its full range. Ends early when a round changes nothing.
    """
    best = {operand: make_quantizer(problem, operand, choice.bits, *choice.combinations[0]) for operand, choice in choices.items()}
    for _ in range(rounds):
        before = dict(best)
        for operand in reversed(list(choices)):  # weights before activations, as in PTQ4ViT
            best[operand] = _search_operand(problem, operand, choices[operand], best, factors)
        if all(_same(best[operand], before[operand]) for operand in best):
            break
    return best


def make_quantizer(
    problem: Problem, operand: str, bits: int, granularity: str, scheme: Scheme, factor: Tensor | float = 1.0
) -> UniformQuantizer:
    """The quantizer of ``operand`` that covers ``factor`` times its range; ``factor`` is one number or one a channel."""
    low, high = problem.range(operand, granularity)
    axis = None if granularity == "tensor" else problem.site.axis(operand)
    return UniformQuantizer(bits, scheme, *range_to_grid(factor * low, factor * high, bits, scheme), axis=axis)


def objective(problem: Problem, quantizers: dict[str, UniformQuantizer]) -> float:
    """The site's reconstruction error with the given quantizers, summed over the sampled rows."""
    left, right = (problem.quantized(operand, quantizer) for operand, quantizer in quantizers.items())
    return float(problem.errors(left, right).sum())


def _search_operand(
    problem: Problem, operand: str, choices: Choices, current: dict[str, UniformQuantizer], factors: Tensor
) -> UniformQuantizer:
    quantized = {name: problem.quantized(name, quantizer) for name, quantizer in current.items()}

    def losses(granularity: str, quantizer: UniformQuantizer) -> Tensor:
        left, right = (quantized | {operand: problem.quantized(operand, quantizer)}).values()
        return problem.errors_by_unit(operand, granularity, problem.errors(left, right))

    found: list[tuple[float, UniformQuantizer]] = []
    for granularity, scheme in choices.combinations:

        def candidate(index: Tensor, granularity: str = granularity, scheme: Scheme = scheme) -> UniformQuantizer:
            factor = problem.by_channel(operand, factors[index])
            return make_quantizer(problem, operand, choices.bits, granularity, scheme, factor)

        def losses_of(index: Tensor, granularity: str = granularity, candidate: Callable[[Tensor], UniformQuantizer] = candidate) -> Tensor:
            return losses(granularity, candidate(index))

        start = torch.zeros(problem.units(operand, granularity), dtype=torch.int64)
        index, loss = choices.strategy(losses_of, len(factors), start)
        found.append((float(loss.sum()), candidate(index)))
    return min(found, key=lambda pair: pair[0])[1]


def _same(one: UniformQuantizer, other: UniformQuantizer) -> bool:
    return one.scheme == other.scheme and one.axis == other.axis and torch.equal(one.scale, other.scale)
