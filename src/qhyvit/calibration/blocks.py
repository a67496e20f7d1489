"""What the joint search of bridge blocks needs beyond the sites' statistics: values that enter each block, gradients at its output."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from qhyvit.calibration.capture import UNROUNDED, backward
from qhyvit.calibration.losses import Loss, fisher_loss
from qhyvit.graph.block import Block
from qhyvit.graph.rounding import Rounding
from qhyvit.graph.sites import Site
from qhyvit.quantizers.store import Quantizers


@dataclass(frozen=True)
class BlockStatistics:
    """Values of a block's inputs over all calibration images, and the gradient at its output, of the output's shape.

    An input that is a number is a multiple of the number of images: nothing else is dynamic in a traced graph.
    """

    inputs: list[Tensor | int]
    gradient: Tensor


class _Recorder(Rounding):
    """Keeps the values of the inputs and outputs of some blocks; the outputs keep their gradients too."""

    def __init__(self, graph_module: fx.GraphModule, sites: Sequence[Site], quantizers: Quantizers, blocks: Sequence[Block]) -> None:
        super().__init__(graph_module, sites, quantizers)
        self.outputs = {block.output for block in blocks}
        self.kept = self.outputs | {node for block in blocks for node in block.inputs}
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node in self.outputs:
            value.retain_grad() if value.requires_grad else value.requires_grad_()
        if node in self.kept:
            self.values[node] = value
        return value


def capture_blocks(
    graph_module: fx.GraphModule,
    sites: Sequence[Site],
    blocks: Sequence[Block],
    batches: Iterable[Tensor],
    seed: int,
    loss: Loss = fisher_loss,
    rounding: Quantizers = UNROUNDED,
) -> dict[str, BlockStatistics]:
    """Statistics of every block over ``batches`` of images [B, 3, H, W], by the block's name.

    The values are those of the FP32 network, the gradients those of ``loss`` at the network with the quantizers ``rounding``.
    """
    if not blocks:  # of a network that is no hybrid
        return {}
    generator = torch.Generator().manual_seed(seed)

    def record(quantizers: Quantizers) -> _Recorder:
        return _Recorder(graph_module, sites, quantizers, blocks)

    pairs = [backward(record, images, loss, rounding, generator) for images in batches]
    return {
        block.name: BlockStatistics(
            inputs=[_joined([exact.values[node] for exact, _ in pairs]) for node in block.inputs],
            gradient=torch.cat([rounded.values[block.output].grad for _, rounded in pairs]),
        )
        for block in blocks
    }


def _joined(values: list[Any]) -> Tensor | int:
    return torch.cat(values).detach() if isinstance(values[0], Tensor) else sum(values)
