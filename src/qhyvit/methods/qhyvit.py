"""Q-HyViT (arXiv 2303.12557, Section IV): a search per site, then a joint search of each bridge block by the error at its output."""

from qhyvit.config.methods import QhyvitMethod
from qhyvit.graph.bridge_subgraph import Block
from qhyvit.methods import scale_search
from qhyvit.methods.recalibration import bridge_blocks, recalibrated
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.block_errors import BlockErrors
from qhyvit.search.block_search import QuantizedBlock, search_block
from qhyvit.search.candidates import UniformCandidates
from qhyvit.search.joint_search import search_jointly

MAX_OPTION_RATIO = 1.5  # options whose error at their own site exceeds this multiple of the least are not tried


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site (Algorithm 1)."""
    method, task = task.settings(QhyvitMethod), recalibrated(task)
    quantizers = dict(scale_search.search_sites(task))
    for block in track(bridge_blocks(task.model), "searching bridge blocks"):
        quantizers |= _search(task, block, quantizers, method)
    return quantizers


def _search(task: Task, block: Block, start: Quantizers, method: QhyvitMethod) -> Quantizers:
    """Return the quantizers of a block that a search from ``start`` finds."""
    assert task.recalibration is not None
    statistics = task.recalibration.blocks[block.name]()
    families = {
        (site.name, operand): _allowed(of_operand, start[site.name][operand], method)
        for site in block.sites
        for operand, of_operand in scale_search.candidates_of(task, site).items()
    }
    if method.candidates_per_block == "all":
        every = {place: [family.common() for family in of_operand] for place, of_operand in families.items()}
        return search_jointly(BlockErrors(block, statistics.inputs, statistics.gradient), start, every, method.rounds)
    few = {place: _options(of_operand, start, *place, method.candidates_per_block) for place, of_operand in families.items()}
    return search_block(QuantizedBlock(block, statistics.inputs, statistics.gradient), start, few, method.rounds)


def _allowed(families: list[UniformCandidates], chosen: Quantizer, method: QhyvitMethod) -> list[UniformCandidates]:
    """Leave out per-channel families of an operand that is per-tensor at the site if ranges are cross-validated.

    The error at the block's output is not cross-validated.
    """
    whole = isinstance(chosen, UniformQuantizer) and chosen.axis is None
    return [family for family in families if family.granularity == "per_tensor" or not (method.cross_validated and whole)]


def _options(families: list[UniformCandidates], start: Quantizers, site: str, operand: str, count: int) -> list[Quantizer]:
    """Return the best few scales of each granularity and scheme by the site's own error, none much worse."""
    (other,) = (quantizer for name, quantizer in start[site].items() if name != operand)
    best = [pair for family in families for pair in family.best_common(other, count)]
    least = min(error for error, _ in best)
    return [quantizer for error, quantizer in best if error <= MAX_OPTION_RATIO * least]
