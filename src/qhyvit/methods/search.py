"""Scale, and where the settings leave a choice granularity and scheme, of every operand by an objective: what most of the field does."""

from itertools import product

import torch
from rich.progress import track
from torch import Tensor

from qhyvit.config import QhyvitMethod, SearchMethod
from qhyvit.graph.sites import Site
from qhyvit.methods.task import Task
from qhyvit.quantizers.store import Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.alternating import Choices, search
from qhyvit.search.candidates import shortlisted
from qhyvit.search.objectives import OBJECTIVES


def quantize(task: Task) -> Quantizers:
    """The quantizers of every site, each site searched by itself."""
    return {site.name: _search_site(task, site) for site in track(task.network.sites, "searching")}


def choices_of(task: Task, site: Site) -> dict[str, Choices]:
    """What the settings leave to be chosen for each operand of a site."""

    def choices(operand: str) -> Choices:
        allowed = task.choices(site, operand)
        return Choices(task.bits(operand), tuple(product(allowed.granularity, allowed.scheme)))

    return {operand: choices(operand) for operand in site.operands}


def factors_of(method: SearchMethod | QhyvitMethod) -> Tensor:
    """The candidate scales, as factors of the one that covers the full range: [n]."""
    return torch.linspace(method.lowest, method.highest, method.candidates)


def _search_site(task: Task, site: Site) -> dict[str, UniformQuantizer]:
    method = task.method
    assert isinstance(method, SearchMethod | QhyvitMethod)
    objective = OBJECTIVES[method.objective]
    return search(task.problem(site), choices_of(task, site), factors_of(method), method.rounds, shortlisted, objective)
