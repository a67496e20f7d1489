"""The plain baselines: scales straight from the ranges that calibration saw, whole (min-max) or cut at a percentile."""

from torch import Tensor

from qhyvit.config.methods import MinmaxMethod
from qhyvit.graph.sites import Site
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer


def find_quantizers(task: Task) -> Quantizers:
    """One quantizer for each operand of each site, of the first granularity and scheme of the settings."""
    return {site.name: {operand: _quantizer(task, site, operand) for operand in site.operands} for site in task.network.sites}


def _quantizer(task: Task, site: Site, operand: str) -> UniformQuantizer:
    choices = task.choices(site, operand)
    granularity, scheme, bits = choices.granularity[0], choices.scheme[0], task.bits(operand)
    low, high = _range(task, site, operand, granularity)
    axis = None if granularity == "per_tensor" else site.axis(operand)
    return UniformQuantizer.covering(low, high, bits, scheme, axis)


def _range(task: Task, site: Site, operand: str, granularity: str) -> tuple[Tensor, Tensor]:
    if granularity == "per_tensor" and operand != "weight":
        return task.statistics[site.name].ranges[operand].percentile(task.settings(MinmaxMethod).percentile)
    return task.problem(site).range(operand, granularity)
