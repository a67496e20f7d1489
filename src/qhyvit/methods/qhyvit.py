"""Q-HyViT (arXiv 2303.12557, Section IV): every site by itself, then the sites of each bridge block by the error at the block's output."""

from rich.progress import track

from qhyvit.config.methods import QhyvitMethod
from qhyvit.graph.bridge_subgraph import Block
from qhyvit.methods import scale_search
from qhyvit.methods.recalibration import bridge_blocks, recalibrated
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.block_search import QuantizedBlock, search_block

MAX_OPTION_RATIO = 1.5  # times the least error of a site by itself


def find_quantizers(task: Task) -> Quantizers:
    """The quantizers of every site."""
    method, task = task.settings(QhyvitMethod), recalibrated(task)
    assert task.recalibration is not None
    quantizers = dict(scale_search.search_sites(task))
    for block in track(bridge_blocks(task.model), "searching bridge blocks"):
        found = task.recalibration.blocks[block.name]
        problem = QuantizedBlock(block, found.inputs, found.gradient)
        quantizers |= search_block(problem, quantizers, _options(task, block, quantizers, method), method.rounds)
    return quantizers


def _options(task: Task, block: Block, start: Quantizers, method: QhyvitMethod) -> dict[tuple[str, str], list[Quantizer]]:
    """For each site and operand of the block, the best few scales of each granularity and scheme by the site's own error, none much worse.

    When ranges are cross-validated, channels are told apart where that is best at the site by itself: at the block's output none is.
    """
    options: dict[tuple[str, str], list[Quantizer]] = {}
    for site in block.sites:
        for operand, families in scale_search.candidates_of(task, site).items():
            (other,) = (quantizer for name, quantizer in start[site.name].items() if name != operand)
            chosen = start[site.name][operand]
            whole = isinstance(chosen, UniformQuantizer) and chosen.axis is None
            allowed = [family for family in families if family.granularity == "per_tensor" or not (method.cross_validated and whole)]
            found = [pair for family in allowed for pair in family.best_common(other, method.candidates_per_block)]
            least = min(error for error, _ in found)
            options[site.name, operand] = [quantizer for error, quantizer in found if error <= MAX_OPTION_RATIO * least]
    return options
