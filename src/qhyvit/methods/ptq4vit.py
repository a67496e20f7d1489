"""PTQ4ViT (Yuan et al., arXiv 2111.12293): scale search per site, with twin uniform quantizers after softmax, GELU and SiLU.

Each operand is searched given the quantized other operand. The settings call the differences of the released code defects, so that their
effect can be measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qhyvit.config.methods import Ptq4vitMethod
from qhyvit.graph.operators import aten
from qhyvit.graph.output_sites import source_of
from qhyvit.graph.sites import Site
from qhyvit.methods import scale_search
from qhyvit.methods.log2_attention import from_softmax
from qhyvit.methods.recalibration import recalibrated
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.floating_point import FP32_BITS
from qhyvit.quantizers.twin import (
    GELU_MINIMUM,
    SILU_MINIMUM,
    AddedTwinUniformQuantizer,
    TwinUniformQuantizer,
    after_activation,
    after_softmax,
)
from qhyvit.quantizers.uniform import range_to_grid
from qhyvit.search import alternating
from qhyvit.search.candidates import Candidates, ListedCandidates, UniformCandidates
from qhyvit.search.objectives import OBJECTIVES, chunk_size
from qhyvit.search.site_problem import SiteProblem

MINIMA = {aten.gelu.default: GELU_MINIMUM, aten.silu.default: SILU_MINIMUM}
SPLITS = [2.0**-octave for octave in range(20)]


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site."""
    task = recalibrated(task)
    rounds = task.settings(Ptq4vitMethod).rounds
    return {site.name: alternating.alternate(candidates_of(task, site), rounds) for site in track(task.model.sites, "searching")}


def candidates_of(task: Task, site: Site) -> dict[str, Sequence[Candidates]]:
    """Return the candidates for each operand of a site."""
    problem = task.problem(site)
    return {operand: _families(task, problem, operand) for operand in site.operands}


def _families(task: Task, problem: SiteProblem, operand: str) -> Sequence[Candidates]:
    method, site = task.settings(Ptq4vitMethod), problem.site
    if operand == "weight":
        families = scale_search.uniform_candidates(task, problem, operand)
        stacked = site.groups > 1 and "stacked-groups" in method.defects
        return [StackedCandidates(**vars(family)) for family in families] if stacked else families
    source = source_of(site, operand).target
    if operand == "left" and from_softmax(site, operand):
        return [_after_softmax(task, problem)]
    if operand == "input" and source in MINIMA and task.bits(site, operand) != FP32_BITS:
        lowest = GELU_MINIMUM if "gelu-minimum" in method.defects else MINIMA[source]
        return [_after_activation(task, problem, lowest)]
    return scale_search.operand_candidates(task, problem, operand)


def _after_softmax(task: Task, problem: SiteProblem) -> ListedCandidates:
    method = task.settings(Ptq4vitMethod)
    kind = AddedTwinUniformQuantizer if "added-halves" in method.defects else TwinUniformQuantizer
    twins = [after_softmax(split, task.activation_bits, kind) for split in SPLITS]
    return ListedCandidates(problem, "left", OBJECTIVES[method.objective], quantizers=twins)


def _after_activation(task: Task, problem: SiteProblem, lowest: float) -> "TwinCandidates":
    method, bits = task.settings(Ptq4vitMethod), task.bits(problem.site, "input")
    _, high = problem.range("input", "per_tensor")
    multipliers = torch.cat([torch.ones(1), scale_search.scale_multipliers(method)])
    scales, _ = range_to_grid(torch.zeros(()), multipliers * high, bits, "symmetric")
    full, *twins = (after_activation(lowest, scale, bits) for scale in scales)
    return TwinCandidates(problem, "input", OBJECTIVES[method.objective], quantizers=twins, full=full)


@dataclass(kw_only=True)
class TwinCandidates(ListedCandidates):
    """Listed quantizers, and the quantizer of the ``full`` range, not necessarily one of them, that is the start."""

    full: Quantizer

    def start(self) -> Quantizer:
        """Return the quantizer of the full range."""
        return self.full


@dataclass(kw_only=True)
class StackedCandidates(UniformCandidates):
    """Weight candidates of a grouped convolution as PTQ4ViT's code compares them: with the inputs of other groups.

    The code lays the n candidates of O output channels, from the smallest scale to the largest, along the output channels of one
    convolution and leaves its G groups as they are. Channel c of candidate i is then channel i * O + c of n * O, which reads the input of
    group floor((i * O + c) * G / (n * O)). The released code stacks as many candidates as its memory holds; here these are always all.

    Sampled rows of different groups are of different positions: row t of another group's sample replaces the same position of its input.
    The losses are those of the code if all positions are kept.
    """

    def _losses(self, problem: SiteProblem, granularity: str, other: Quantizer | None, index: Tensor) -> Tensor:
        rows = problem.quantized("input", other)
        parts = index.split(chunk_size(problem, self.operand))
        mixed = ((_MixedGroups(problem, self._sources(part)), part) for part in parts)
        return torch.cat(
            [self.objective.losses(stacked, self.operand, granularity, self.rows(problem, part), rows) for stacked, part in mixed]
        )

    def _sources(self, index: Tensor) -> Tensor:
        """Return the group [m, O] whose input each output channel of the candidates ``index`` [m, units] reads."""
        channels = self.problem.tensors["weight"].shape[0] * self.problem.tensors["weight"].shape[2]
        rank = self.scale_multipliers.argsort().argsort()[index.view(len(index), -1)]
        stacked = rank * channels + torch.arange(channels)
        return stacked * self.problem.site.groups // (len(self) * channels)


class _MixedGroups(SiteProblem):
    """Problem of a grouped convolution in which output channels of weight candidates read the inputs of the groups ``sources`` [m, O]."""

    def __init__(self, problem: SiteProblem, sources: Tensor) -> None:
        vars(self).update(vars(problem))
        self._sources = sources.unflatten(1, (problem.site.groups, -1))
        self.layout = replace(problem.layout, depthwise=False)  # every candidate has inputs of its own

    def products(self, operand: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the products of weight candidates [G, K, m, O / G] with the rows ``other`` [G, T, K], as [G, T, m, O / G]."""
        return torch.einsum("mgotk,gkmo->gtmo", other[self._sources], candidates)
