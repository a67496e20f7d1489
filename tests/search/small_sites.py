"""Sites of every kind, small enough for loops in float64."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.calibration.capture import capture
from qhyvit.graph.sites import find_sites, site_bias, site_weight
from qhyvit.graph.trace import trace
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.candidates import UniformCandidates
from qhyvit.search.objectives import OBJECTIVES
from qhyvit.search.site_problem import SiteProblem


class OneLayer(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x).flatten(1)


class OneProduct(nn.Module):
    def forward(self, x):
        return (x @ (x * 2 + 1).transpose(-2, -1)).flatten(1)


torch.manual_seed(0)  # these weights are drawn at import, before any fixture
LAYERS = {
    "dense": nn.Conv2d(4, 6, 3, padding=1),
    "depthwise": nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
    "linear": nn.Linear(5, 6),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "one output": nn.Conv2d(4, 1, 3, padding=1),
    "one output per group": nn.Conv2d(4, 2, 3, padding=1, groups=2),
}


def make_problem(name, sizes=(4,)):
    """The problem of a site from batches of the given sizes, four images in all."""
    model = OneProduct() if name == "matmul" else OneLayer(LAYERS[name])
    x = F.silu(torch.randn(4, 4, 6, 5)) * torch.tensor([0.2, 1.0, 3.0, 9.0]).view(4, 1, 1)
    graph_module = trace(model, x)
    site = find_sites(graph_module)[0]
    statistics = capture(graph_module, [site], x.split(sizes), None, seed=0)[site.name]
    return SiteProblem(site, site_weight(graph_module, site), statistics, site_bias(graph_module, site)), x


def make_quantizer(problem, operand, bits, granularity, scheme, factor=1.0):
    low, high = problem.range(operand, granularity)
    axis = None if granularity == "per_tensor" else problem.site.axis(operand)
    return UniformQuantizer.covering(factor * low, factor * high, bits, scheme, axis)


def make_candidates(
    problem, operand, bits, granularity, scheme, scale_multipliers, objective="fisher", *, exhaustive=True, cross_validated=False
):
    family = partial(UniformCandidates, problem, operand, OBJECTIVES[objective], exhaustive, granularity=granularity, scheme=scheme)
    return family(bits=bits, scale_multipliers=scale_multipliers, cross_validated=cross_validated)


def all_losses(candidates, other):
    """The losses of all candidates when all units take the same: [n, units]."""
    units = candidates.problem.units(candidates.operand, candidates.granularity)
    return candidates.losses(other, torch.arange(len(candidates)).view(-1, *[1] * len(units)).expand(-1, *units))
