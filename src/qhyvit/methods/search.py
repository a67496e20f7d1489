"""Scale, and where the settings leave a choice granularity and scheme, of every operand by an objective: what most of the field does."""

import torch
from rich.progress import track

from qhyvit.config import SearchMethod
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


def _search_site(task: Task, site: Site) -> dict[str, UniformQuantizer]:
    method = task.method
    assert isinstance(method, SearchMethod)
    choices = {
        operand: Choices(
            bits=task.bits(operand),
            combinations=tuple(
                (granularity, scheme)
                for granularity in task.choices(site, operand).granularity
                for scheme in task.choices(site, operand).scheme
            ),
        )
        for operand in site.operands
    }
    factors = torch.linspace(method.lowest, method.highest, method.candidates)
    return search(task.problem(site), choices, factors, method.rounds, shortlisted, OBJECTIVES[method.objective])
