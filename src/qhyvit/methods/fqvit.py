"""FQ-ViT (Lin et al., IJCAI 2022, arXiv 2111.13824): full ranges everywhere, and log2 quantization after softmax.

Full mode adds its power-of-two factors before norms (`qhyvit.methods.outputs`).
"""

from dataclasses import replace

from qhyvit.config.methods import FqvitMethod
from qhyvit.graph.sites import Site
from qhyvit.methods.log2_attention import from_softmax, log2_attention
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import saturated_grid


def find_quantizers(task: Task) -> Quantizers:
    """Return one quantizer per operand; uniform ones have the first granularity and scheme of the settings."""
    return {site.name: {operand: _quantizer(task, site, operand) for operand in site.operands} for site in task.model.sites}


def _quantizer(task: Task, site: Site, operand: str) -> Quantizer:
    if from_softmax(site, operand):
        return log2_attention()
    low, high = task.default_range(site, operand)
    quantizer = task.covering(site, operand, low, high)
    if task.settings(FqvitMethod).zero_point == "widened":
        return quantizer
    scale, zero_point = saturated_grid(low, high, quantizer.bits, quantizer.scheme)
    return replace(quantizer, scale=scale, zero_point=zero_point)
