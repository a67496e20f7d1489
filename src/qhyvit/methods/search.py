"""Scale, and where the settings leave a choice granularity and scheme, of every operand by an objective: what most of the field does."""

from itertools import product

import torch
from rich.progress import track

from qhyvit.config import SearchSettings
from qhyvit.graph.sites import Site
from qhyvit.methods.task import Task
from qhyvit.quantizers.store import Quantizers
from qhyvit.search.alternating import search
from qhyvit.search.candidates import UniformCandidates
from qhyvit.search.objectives import OBJECTIVES
from qhyvit.search.problem import Problem


def quantize(task: Task) -> Quantizers:
    """The quantizers of every site, each site searched by itself."""
    method = task.settings(SearchSettings)
    return {site.name: search(candidates_of(task, site), method.rounds) for site in track(task.network.sites, "searching")}


def candidates_of(task: Task, site: Site) -> dict[str, list[UniformCandidates]]:
    """For each operand of a site, the candidates of every granularity and scheme that the settings allow."""
    problem = task.problem(site)
    return {operand: operand_candidates(task, problem, operand) for operand in site.operands}


def operand_candidates(task: Task, problem: Problem, operand: str) -> list[UniformCandidates]:
    """The same for one operand; the first granularity and scheme come first."""
    method, allowed = task.settings(SearchSettings), task.choices(problem.site, operand)
    factors = torch.linspace(method.lowest, method.highest, method.candidates)
    return [
        UniformCandidates(
            problem, operand, OBJECTIVES[method.objective], bits=task.bits(operand), unit=unit, scheme=scheme, factors=factors
        )
        for unit, scheme in product(allowed.granularity, allowed.scheme)
    ]
