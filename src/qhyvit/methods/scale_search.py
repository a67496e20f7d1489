"""Scale, and where the settings leave a choice granularity and scheme, of every operand by an objective: what most of the field does."""

from functools import partial
from itertools import product

import torch
from rich.progress import track
from torch import Tensor

from qhyvit.config.methods import SearchSettings
from qhyvit.graph.sites import Site
from qhyvit.methods.recalibration import recalibrated
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers
from qhyvit.search.alternating import alternate
from qhyvit.search.candidates import UniformCandidates
from qhyvit.search.objectives import OBJECTIVES, by_gram_matrix
from qhyvit.search.site_problem import Problem


def find_quantizers(task: Task) -> Quantizers:
    """The quantizers of every site, each site searched by itself."""
    return search_sites(recalibrated(task))


def search_sites(task: Task) -> Quantizers:
    """Search every site with the gradients that the task has."""
    rounds = task.settings(SearchSettings).rounds
    return {site.name: alternate(candidates_of(task, site), rounds) for site in track(task.model.sites, "searching")}


def candidates_of(task: Task, site: Site) -> dict[str, list[UniformCandidates]]:
    """For each operand of a site, the candidates of every granularity and scheme that the settings allow."""
    problem = task.problem(site)
    return {operand: operand_candidates(task, problem, operand) for operand in site.operands}


def operand_candidates(task: Task, problem: Problem, operand: str) -> list[UniformCandidates]:
    """The same for one operand; the first granularity and scheme come first."""
    method, allowed = task.settings(SearchSettings), task.choices(problem.site, operand)
    objective, bits, factors = OBJECTIVES[method.objective], task.bits(operand), factors_of(method)
    exhaustive = by_gram_matrix(objective, problem, operand)
    family = partial(UniformCandidates, problem, operand, objective, exhaustive, bits=bits, factors=factors)
    return [
        family(unit=unit, scheme=scheme, cross_validated=method.cross_validated and operand != "weight")
        for unit, scheme in product(allowed.granularity, allowed.scheme)
    ]


def factors_of(method: SearchSettings) -> Tensor:
    """The candidate scales as factors of the one that covers the full range [n], the nearest to it first.

    Of equals the first wins, as where no sampled gradient reaches a channel. The codes that take gradients of nothing at all prefer the
    smallest scale.
    """
    factors = torch.linspace(method.scale_min, method.scale_max, method.candidates)
    return factors if method.gradients == "kl" else factors[(factors - 1).abs().argsort(stable=True)]
