"""The search for the quantizers of a site: one operand after the other, each beside the best that was found for the other.

With exhaustive candidates and all rows it is the plain search that the literature runs, and the reference for faster ones.
"""

from collections.abc import Mapping, Sequence

import torch

from qhyvit.quantizers.base import Quantizer, same_quantizer
from qhyvit.search.candidates import Candidates
from qhyvit.search.site_problem import Problem

ORDER = ("weight", "input", "left", "right")  # in which operands are searched: as in PTQ4ViT's code
COMPARE_RATIO = 1.25  # candidates with so many times the least loss on some rows are not compared on all
RESAMPLE_RATIO = 1.5  # times the loss on some rows: candidates with so much on all are searched anew on all rows
DROP_FAMILY_RATIO = 1.1  # candidates with so many times the least loss on all rows are not tried in further rounds
LEAST_GAIN = 0.01  # share of the loss that a further round must have removed for another one to follow


@torch.inference_mode()
def alternate(candidates: Mapping[str, Sequence[Candidates]], rounds: int) -> dict[str, Quantizer]:
    """The quantizers of both operands, of one or more families of ``candidates`` for each.

    The start is that of the first family of each operand. The search ends early when a round gains next to nothing or nothing would change
    any more, and leaves out families that have fallen far behind.
    """
    first, second = sorted(candidates, key=ORDER.index)
    left = {operand: [family.shortlist() for family in families] for operand, families in candidates.items()}
    best = {operand: families[0].start() for operand, families in candidates.items()}
    beside: dict[str, Quantizer] = {}  # what was in the other's place when an operand was last searched
    loss = float("inf")
    for _ in range(rounds):
        previous = loss
        for operand, other in ((first, second), (second, first)):
            if operand in beside and same_quantizer(beside[operand], best[other]):
                return best
            beside[operand] = best[other]
            loss, best[operand], left[operand] = _contest(left[operand], best[other])
        if loss > (1 - LEAST_GAIN) * previous:
            break
    return best


def _contest(families: Sequence[Candidates], other: Quantizer) -> tuple[float, Quantizer, list[Candidates]]:
    """The least loss, its quantizer, and the families that are worth another round.

    What some rows say of a family is believed unless all rows say that it is much worse, while it might have been the best.
    """
    judged = sorted(((*family.finalists(other), family) for family in families), key=lambda one: one[0])
    least, found = float("inf"), []
    for expected, finalists, family in judged:
        if expected > COMPARE_RATIO * judged[0][0]:
            break
        loss, quantizer = finalists.best(other)
        if loss > RESAMPLE_RATIO * expected and expected < least:
            loss, quantizer, family = family.unsampled(other)
        least = min(least, loss)
        found.append((loss, quantizer, family))
    _, best, _ = min(found, key=lambda one: one[0])
    return least, best, [family for loss, _, family in found if loss <= DROP_FAMILY_RATIO * least]


def reconstruction_error(problem: Problem, quantizers: Mapping[str, Quantizer]) -> float:
    """The Fisher-weighted squared error of a site with the given quantizers, summed over the sampled rows."""
    left, right = (problem.quantized(operand, quantizers[operand]) for operand in problem.site.operands)
    return float((left @ right).sub_(problem.reference).mul_(problem.gradient).square_().sum())
