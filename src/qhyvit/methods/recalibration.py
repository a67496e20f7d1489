"""Recalibration: a second pass over the calibration images, with the gradients or positions that the settings of a method ask for.

Q-HyViT takes the gradients of the network that is quantized by default (arXiv 2303.12557, Algorithm 1).
"""

from dataclasses import replace

from qhyvit.calibration.block_inputs import BlockCollector
from qhyvit.calibration.capture import SiteStatistics, capture
from qhyvit.calibration.losses import fisher_loss, kl_loss
from qhyvit.calibration.recalibration import Recalibration
from qhyvit.calibration.token_sampling import sample_tokens
from qhyvit.config.method_settings import SearchSettings
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.bridge_subgraph import Block, extract_block
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import NO_QUANTIZERS, Quantizers


def recalibrate(task: Task) -> Recalibration:
    """Sample the rows of every site anew: with other gradients, and with the bridge blocks, or whole tokens for the cosine objective.

    The result depends on the model, the calibration, the bits, and of the settings on nothing but what `recalibration_key` stands for.
    """
    model, images, settings = task.model, task.calibration, task.settings(SearchSettings)
    if settings.objective == "cosine":
        return Recalibration(sample_tokens(model.graph_module, model.sites, images.read_batches(), images.positions, images.seed), {})
    blocks = BlockCollector(bridge_blocks(model))
    statistics = capture(
        model.graph_module,
        model.sites,
        [half for batch in images.read_batches() for half in batch.chunk(2)],  # values of two networks are in memory at once
        images.positions,
        images.seed,
        kl_loss if settings.gradients.startswith("kl") else fisher_loss,
        default_quantizers(task) if settings.gradients_when_quantized else NO_QUANTIZERS,
        ranges={name: found.ranges for name, found in task.statistics.items()},
        collectors=[blocks],
    )
    return Recalibration({name: found.read_rows for name, found in statistics.items()}, blocks.statistics())


def recalibrated(task: Task) -> Task:
    """Return the task with the rows that its settings ask for, from its recalibration if it has one."""
    if task.method.recalibration_key is None:
        return task
    recalibration = task.recalibration or recalibrate(task)
    statistics = {name: SiteStatistics(found.ranges, recalibration.rows[name]) for name, found in task.statistics.items()}
    return replace(task, statistics=statistics, recalibration=recalibration)


def bridge_blocks(model: TracedModel) -> list[Block]:
    """Return the bridge blocks of a model as networks of their own."""
    return [extract_block(model.graph_module, block) for block in find_bridge_blocks(model.graph_module, model.sites)]


def default_quantizers(task: Task) -> Quantizers:
    """Return for every operand the quantizer of the full range, with the first granularity and scheme of the settings."""
    return {
        site.name: {operand: task.covering(site, operand, *task.default_range(site, operand)) for operand in site.operands}
        for site in task.model.sites
    }
