"""Search of the scale, and of granularity and scheme where the settings leave a choice, by an objective, operand by operand."""

from collections.abc import Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from qhyvit.config.method_settings import SearchSettings
from qhyvit.graph.sites import Site
from qhyvit.methods.recalibration import recalibrated
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.floating_point import FP32_BITS, FloatingPoint
from qhyvit.search.alternating import alternate
from qhyvit.search.candidates import Candidates, ListedCandidates, UniformCandidates
from qhyvit.search.objectives import OBJECTIVES
from qhyvit.search.site_problem import SiteProblem


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site, each site searched independently of the others."""
    return search_sites(recalibrated(task))


def search_sites(task: Task) -> Quantizers:
    """Search every site with the gradients that the task has."""
    return {site.name: _search(task, site) for site in track(task.model.sites, "searching")}


def _search(task: Task, site: Site) -> dict[str, Quantizer]:
    problem = task.problem(site)
    families = {operand: operand_candidates(task, problem, operand) for operand in site.operands}
    return alternate(families, task.settings(SearchSettings).rounds)


def candidates_of(task: Task, site: Site) -> dict[str, list[UniformCandidates]]:
    """Return the uniform candidates of every granularity and scheme that the settings allow, per operand of a site."""
    problem = task.problem(site)
    return {operand: uniform_candidates(task, problem, operand) for operand in site.operands}


def operand_candidates(task: Task, problem: SiteProblem, operand: str) -> Sequence[Candidates]:
    """Return the candidates of one operand; an operand that stays FP32 has that one alone."""
    if task.bits(problem.site, operand) == FP32_BITS:
        return [ListedCandidates(problem, operand, OBJECTIVES[task.settings(SearchSettings).objective], quantizers=[FloatingPoint()])]
    return uniform_candidates(task, problem, operand)


def uniform_candidates(task: Task, problem: SiteProblem, operand: str) -> list[UniformCandidates]:
    """Return the uniform candidates of one operand, the first granularity and scheme of the settings first."""
    method, allowed = task.settings(SearchSettings), task.choices(problem.site, operand)
    objective = OBJECTIVES[method.objective]
    family = partial(
        UniformCandidates,
        problem,
        operand,
        objective,
        exhaustive=objective.compares_all(problem, operand),
        bits=task.bits(problem.site, operand),
        scale_multipliers=scale_multipliers(method),
        zero_point=method.zero_point,
        cross_validated=method.cross_validated and operand != "weight",
    )
    granularities = allowed.granularity if operand != "weight" or problem.parts is None else ["per_part"]
    return [family(granularity=granularity, scheme=scheme) for granularity, scheme in product(granularities, allowed.scheme)]


def scale_multipliers(method: SearchSettings) -> Tensor:
    """Return the candidate scales as multiples of the one that covers the full range [n], the nearest to it first.

    Of equal losses the first wins, as where no sampled gradient reaches a channel. The released codes whose KL gradients vanish prefer the
    smallest scale.
    """
    multipliers = torch.linspace(method.scale_min, method.scale_max, method.candidates)
    return multipliers if method.gradients == "kl" else multipliers[(multipliers - 1).abs().argsort(stable=True)]
