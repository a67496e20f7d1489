"""Q-HyViT (arXiv 2303.12557, Section IV): every site by itself, then the sites of each bridge block by the error at the block's output."""

from rich.progress import track

from qhyvit.config import QhyvitMethod
from qhyvit.errors import InputError
from qhyvit.graph.block import Block, extract_block
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.methods import search
from qhyvit.methods.task import Task
from qhyvit.quantizers.store import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.alternating import Candidates
from qhyvit.search.joint import QuantizedBlock, search_block
from qhyvit.search.objectives import OBJECTIVES


def quantize(task: Task) -> Quantizers:
    """The quantizers of every site. Raises InputError when the calibration of the bridge blocks is missing."""
    assert isinstance(task.method, QhyvitMethod)
    bridge_blocks = find_bridge_blocks(task.network.graph_module, task.network.sites)
    if bridge_blocks and not task.blocks:
        raise InputError("the algorithm qhyvit needs the calibration of the bridge blocks: give it with --blocks")
    quantizers = dict(search.quantize(task))
    for bridge_block in track(bridge_blocks, "searching bridge blocks"):
        block = extract_block(task.network.graph_module, bridge_block)
        found = task.blocks[block.name]
        problem = QuantizedBlock(block, found.inputs, found.gradient)
        quantizers |= search_block(problem, quantizers, _options(task, task.method, block, quantizers), task.method.rounds)
    return quantizers


def _options(task: Task, method: QhyvitMethod, block: Block, start: Quantizers) -> dict[tuple[str, str], list[Quantizer]]:
    """For each site and operand of the block, the best few scales of each granularity and scheme by the site's own error."""
    options: dict[tuple[str, str], list[Quantizer]] = {}
    for site in block.sites:
        problem = task.problem(site)
        for operand, choices in search.choices_of(task, site).items():
            (other,) = (quantizer for name, quantizer in start[site.name].items() if name != operand)
            assert isinstance(other, UniformQuantizer)
            options[site.name, operand] = [
                quantizer
                for combination in choices.combinations
                for quantizer in Candidates(
                    problem, operand, choices.bits, *combination, search.factors_of(method), OBJECTIVES[method.objective]
                ).best_common(other, method.options)
            ]
    return options
