"""Scale search among the quantizers that the integer kernels of a target execute as simulated.

Grouped convolutions and products of activations are searched as in `scale_search`, with the granularities and schemes of the target.
A dense layer has one grid for its whole input, but its weight may take over scales of the input's channels, or a part of them, before it
is quantized (`qhyvit.search.rescaling`): the strength with the least Fisher-weighted error is taken.
"""

from dataclasses import replace

import torch

from qhyvit.config.methods import QhyvitIntegerMethod
from qhyvit.config.targets import OperandLimits, Target, load_target
from qhyvit.graph.sites import Site
from qhyvit.methods.recalibration import recalibrated
from qhyvit.methods.scale_search import uniform_candidates
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.search.alternating import alternate, reconstruction_error
from qhyvit.search.candidates import UniformCandidates
from qhyvit.search.rescaling import channel_factors, in_original_units, rescaled
from qhyvit.search.site_problem import SiteProblem

STRENGTHS_SEARCHED = 2  # strengths for which all candidates are tried: the best by one scale for all channels


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site, each site searched independently of the others."""
    task = recalibrated(task)
    target = load_target(task.settings(QhyvitIntegerMethod).target)
    return {site.name: _search(task, site, target) for site in track(task.model.sites, "searching")}


def _search(task: Task, site: Site, target: Target) -> dict[str, Quantizer]:
    problem = task.problem(site)
    if "rescaled" not in target.limits(site.site_class, site.operands[0]).granularity or site.groups > 1:
        return _best(task, problem, target)
    return _search_strengths(task, problem, target)


def _search_strengths(task: Task, problem: SiteProblem, target: Target) -> dict[str, Quantizer]:
    """Return the quantizers with the least error of those that `_best` finds with the most promising strengths."""
    tried = []
    for strength in _promising(task, problem, target):
        factors = channel_factors(problem, strength)
        scaled = rescaled(problem, factors)
        found = _best(task, scaled, target)
        original = in_original_units(problem, found, factors) if strength else found
        tried.append((reconstruction_error(scaled, found), original))
    return min(tried, key=lambda pair: pair[0])[1]


def _promising(task: Task, problem: SiteProblem, target: Target) -> list[float]:
    """Return the strengths with the least errors where all channels have one multiplier of the scale that covers their range."""

    def error(strength: float) -> float:
        scaled = rescaled(problem, channel_factors(problem, strength))
        (weights, *_), inputs = (_families(task, scaled, operand, target) for operand in ("weight", "input"))
        _, best = min((family.best_common(weights.start(), 1)[0] for family in inputs), key=lambda pair: pair[0])
        return weights.best_common(best, 1)[0][0]

    return sorted(task.settings(QhyvitIntegerMethod).strengths, key=error)[:STRENGTHS_SEARCHED]


@torch.inference_mode()
def _best(task: Task, problem: SiteProblem, target: Target) -> dict[str, Quantizer]:
    families = {operand: _families(task, problem, operand, target) for operand in problem.site.operands}
    return alternate(families, task.settings(QhyvitIntegerMethod).rounds)


def _families(task: Task, problem: SiteProblem, operand: str, target: Target) -> list[UniformCandidates]:
    """Return the candidates of an operand that the target executes, with no more bits than it has."""
    limits = target.limits(problem.site.site_class, operand)
    families = uniform_candidates(task, problem, operand)
    return [replace(family, bits=min(family.bits, limits.bits)) for family in families if _executes(limits, family)]


def _executes(limits: OperandLimits, family: UniformCandidates) -> bool:
    site, (low, _) = family.problem.site, family.problem.range(family.operand, "per_tensor")
    granularity: set[str] = {family.granularity}
    scheme: set[str] = {"unsigned" if family.scheme == "asymmetric" and low >= 0 else family.scheme}
    if site.depthwise and scheme != {"asymmetric"}:  # one zero point; channels do not mix
        granularity.add("rescaled")
    if family.bits < limits.bits:  # less their zero point, integers are signed ones of one bit more
        scheme.add("symmetric")
    return bool(granularity & {*limits.granularity} and scheme & {*limits.scheme})
