"""Alternating search for the quantizers of a site: one operand after the other, given the best quantizer found so far for the other.

With exhaustive candidates and all rows this is the plain search that the literature runs, and the reference for faster ones.
"""

from collections.abc import Mapping, Sequence

import torch

from qhyvit.quantizers.base import Quantizer, same_quantizer
from qhyvit.search.candidates import Candidates
from qhyvit.search.site_problem import SiteProblem

ORDER = ("weight", "input", "left", "right")  # in which operands are searched: as in PTQ4ViT's code
COMPARE_RATIO = 1.25  # a family is compared on all rows only if its loss on some rows is at most this multiple of the least
RESAMPLE_RATIO = 1.5  # a family is searched again on all rows if its loss there exceeds this multiple of its loss on some rows
DROP_FAMILY_RATIO = 1.1  # a family is dropped from further rounds if its loss on all rows exceeds this multiple of the least
LEAST_GAIN = 0.01  # share of the loss that a round must have removed for another one to follow


@torch.inference_mode()
def alternate(candidates: Mapping[str, Sequence[Candidates]], rounds: int) -> dict[str, Quantizer]:
    """Return the quantizers of both operands, given one or more families of ``candidates`` per operand.

    The start is that of the first family of each operand. The search ends early when a round gains little or nothing would change, and
    drops families that have fallen far behind.
    """
    first, second = sorted(candidates, key=ORDER.index)
    remaining = {operand: [family.shortlist() for family in families] for operand, families in candidates.items()}
    best = {operand: families[0].start() for operand, families in candidates.items()}
    given: dict[str, Quantizer] = {}  # the other operand's quantizer when an operand was last searched
    loss = float("inf")
    for _ in range(rounds):
        previous = loss
        for operand, other in ((first, second), (second, first)):
            if operand in given and same_quantizer(given[operand], best[other]):
                return best
            given[operand] = best[other]
            loss, best[operand], remaining[operand] = _contest(remaining[operand], best[other])
        if loss > (1 - LEAST_GAIN) * previous:
            break
    return best


def _contest(families: Sequence[Candidates], other: Quantizer) -> tuple[float, Quantizer, list[Candidates]]:
    """Return the least loss, its quantizer, and the families that are worth another round.

    Trust the loss of a family on a sample of rows unless the loss on all rows is more than RESAMPLE_RATIO times larger and the family
    could have won.
    """
    estimates = sorted(((*family.finalists(other), family) for family in families), key=lambda estimate: estimate[0])
    least, results = float("inf"), []
    for expected, finalists, family in estimates:
        if expected > COMPARE_RATIO * estimates[0][0]:
            break
        loss, quantizer = finalists.best(other)
        if loss > RESAMPLE_RATIO * expected and expected < least:
            loss, quantizer, family = family.unsampled(other)
        least = min(least, loss)
        results.append((loss, quantizer, family))
    _, best, _ = min(results, key=lambda result: result[0])
    return least, best, [family for loss, _, family in results if loss <= DROP_FAMILY_RATIO * least]


def reconstruction_error(problem: SiteProblem, quantizers: Mapping[str, Quantizer]) -> float:
    """Return the Fisher-weighted squared error of a site with the given quantizers, summed over the sampled rows."""
    left, right = (problem.quantized(operand, quantizers[operand]) for operand in problem.site.operands)
    return float((left @ right).sub_(problem.reference).mul_(problem.gradient).square_().sum())
