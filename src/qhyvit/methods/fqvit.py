"""FQ-ViT (Lin et al., IJCAI 2022, arXiv 2111.13824): the whole range of everything but what a softmax computes, which has log2 steps.

Full mode adds its power-of-two factors before norms (`qhyvit.methods.outputs`).
"""

from qhyvit.config.methods import FqvitMethod
from qhyvit.graph.sites import Site
from qhyvit.methods.log2_attention import from_softmax, log2_attention
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer


def find_quantizers(task: Task) -> Quantizers:
    """One quantizer for each operand of each site, of the first granularity and scheme of the settings where it is uniform."""
    return {site.name: {operand: _quantizer(task, site, operand) for operand in site.operands} for site in task.network.sites}


def _quantizer(task: Task, site: Site, operand: str) -> Quantizer:
    if from_softmax(site, operand):
        return log2_attention()
    choices, bits = task.choices(site, operand), task.bits(operand)
    granularity, scheme = choices.granularity[0], choices.scheme[0]
    axis = None if granularity == "per_tensor" else site.axis(operand)
    make = UniformQuantizer.saturated if task.settings(FqvitMethod).zero_point == "saturated" else UniformQuantizer.covering
    return make(*task.problem(site).range(operand, granularity), bits, scheme, axis)
