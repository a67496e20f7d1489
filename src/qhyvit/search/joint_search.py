"""Joint search of a bridge block with all candidates: each is compared by the error at the block's output, with all others in place.

Q-HyViT (arXiv 2303.12557), Section IV and Algorithm 1: scale, granularity and scheme of every layer of the block by Eq. 9, in rounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

import torch

from qhyvit.graph.sites import Site
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.block_errors import BlockErrors, OperandErrors, Scored
from qhyvit.search.channel_multipliers import Grids, improve_channels

SHORTLIST = 10  # quantizers per granularity and scheme that are compared on all images, the best on a sample of the images

Families = Sequence[Sequence[UniformQuantizer]]  # per granularity and scheme, one quantizer per multiplier of all channels


def search_jointly(problem: BlockErrors, start: Quantizers, families: Mapping[tuple[str, str], Families], rounds: int) -> Quantizers:
    """Improve the quantizers ``start`` of a block's sites by all candidates in ``families``, given by site and operand."""
    *_, (best, _) = improvements(problem, start, families, rounds)
    return best


@torch.inference_mode()
def improvements(
    problem: BlockErrors, start: Quantizers, families: Mapping[tuple[str, str], Families], rounds: int
) -> Iterator[tuple[Quantizers, float]]:
    """Yield the quantizers and the error of the block: those of ``start``, and after each operand that has a better quantizer.

    Sites are searched in order of execution, the second operand (the weight of a layer) before the first. The search ends after a round
    without a change, or after ``rounds`` rounds.
    """
    best: Quantizers = {site.name: dict(start[site.name]) for site in problem.block.sites}
    sample = problem.sampled(best)
    yield best, problem.error(best)
    for _ in range(rounds):
        before = best
        for site in problem.block.sites:
            for operand in site.operands[::-1]:
                found = _search_operand(problem, sample, site, operand, best, families[site.name, operand])
                if found.quantizer is not best[site.name][operand]:
                    best = {**best, site.name: {**best[site.name], operand: found.quantizer}}
                    yield best, found.error
        if best is before:
            break


def _search_operand(
    problem: BlockErrors, sample: BlockErrors, site: Site, operand: str, quantizers: Quantizers, families: Families
) -> Scored:
    """Return the best quantizer of an operand: the present one if none is better.

    All quantizers of all families are tried on a sample of the images, and the best of each family on all. Then the best per-channel one,
    the present one included, gets a multiplier per channel.
    """
    errors = OperandErrors(problem, site, operand, quantizers)
    of_sample = errors if sample is problem else OperandErrors(sample, site, operand, quantizers)
    present = quantizers[site.name][operand]
    assert isinstance(present, UniformQuantizer)
    tried = [
        errors.scored(present),
        *(errors.least(family if of_sample is errors else of_sample.best(family, SHORTLIST)) for family in families),
    ]
    per_channel = [scored for scored in tried if scored.quantizer.axis is not None]
    if per_channel:
        best = min(per_channel, key=attrgetter("error"))
        (family,) = (family for family in families if family[0].describe() == best.quantizer.describe())
        tried.append(improve_channels(errors, of_sample, best, Grids(family)))
    return min(tried, key=attrgetter("error"))
