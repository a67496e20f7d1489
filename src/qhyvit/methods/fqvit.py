"""FQ-ViT (Lin et al., IJCAI 2022, arXiv 2111.13824): full ranges everywhere, and log2 quantization after softmax.

Full mode adds its power-of-two factors before norms (`qhyvit.methods.outputs`).
"""

from qhyvit.graph.sites import Site
from qhyvit.methods.log2_attention import from_softmax, log2_attention
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers


def find_quantizers(task: Task) -> Quantizers:
    """Return one quantizer per operand; uniform ones have the first granularity and scheme of the settings."""
    return {site.name: {operand: _quantizer(task, site, operand) for operand in site.operands} for site in task.model.sites}


def _quantizer(task: Task, site: Site, operand: str) -> Quantizer:
    if from_softmax(site, operand):
        return log2_attention()
    return task.covering(site, operand, *task.default_range(site, operand))
