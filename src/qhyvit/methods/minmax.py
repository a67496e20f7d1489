"""Plain baselines: scales straight from the observed ranges, full (min-max) or clipped at a percentile."""

from torch import Tensor

from qhyvit.config.methods import MinmaxMethod
from qhyvit.graph.sites import Site
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers


def find_quantizers(task: Task) -> Quantizers:
    """Return one uniform quantizer per operand, with the first granularity and scheme of the settings."""
    return {
        site.name: {operand: task.covering(site, operand, *_range(task, site, operand)) for operand in site.operands}
        for site in task.model.sites
    }


def _range(task: Task, site: Site, operand: str) -> tuple[Tensor, Tensor]:
    if operand != "weight" and task.choices(site, operand).granularity[0] == "per_tensor":
        return task.statistics[site.name].ranges[operand].percentile(task.settings(MinmaxMethod).percentile)
    return task.default_range(site, operand)
