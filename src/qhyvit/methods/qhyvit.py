"""Q-HyViT (arXiv 2303.12557, Section IV): a search per site, then a joint search of each bridge block by the error at its output."""

from rich.progress import track

from qhyvit.config.methods import QhyvitMethod
from qhyvit.graph.bridge_subgraph import Block
from qhyvit.methods import scale_search
from qhyvit.methods.recalibration import bridge_blocks, recalibrated
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.block_search import QuantizedBlock, search_block

MAX_OPTION_RATIO = 1.5  # options of more times the least error of a single site are left out


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site (Algorithm 1)."""
    method, task = task.settings(QhyvitMethod), recalibrated(task)
    assert task.recalibration is not None
    quantizers = dict(scale_search.search_sites(task))
    for block in track(bridge_blocks(task.model), "searching bridge blocks"):
        statistics = task.recalibration.blocks[block.name]
        problem = QuantizedBlock(block, statistics.inputs, statistics.gradient)
        quantizers |= search_block(problem, quantizers, _options(task, block, quantizers, method), method.rounds)
    return quantizers


def _options(task: Task, block: Block, start: Quantizers, method: QhyvitMethod) -> dict[tuple[str, str], list[Quantizer]]:
    """Return the best few scales of each granularity and scheme by the site's own error, none much worse, per site and operand.

    If ranges are cross-validated, operands that are per-tensor at the site stay per-tensor: the error at the block's output is not
    cross-validated.
    """
    options: dict[tuple[str, str], list[Quantizer]] = {}
    for site in block.sites:
        for operand, families in scale_search.candidates_of(task, site).items():
            (other,) = (quantizer for name, quantizer in start[site.name].items() if name != operand)
            chosen = start[site.name][operand]
            whole = isinstance(chosen, UniformQuantizer) and chosen.axis is None
            allowed = [family for family in families if family.granularity == "per_tensor" or not (method.cross_validated and whole)]
            best = [pair for family in allowed for pair in family.best_common(other, method.candidates_per_block)]
            least = min(error for error, _ in best)
            options[site.name, operand] = [quantizer for error, quantizer in best if error <= MAX_OPTION_RATIO * least]
    return options
