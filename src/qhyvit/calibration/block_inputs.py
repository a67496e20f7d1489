"""Statistics for the joint search of bridge blocks: values that enter each block, and gradients at its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qhyvit.calibration.recorder import Recorder
from qhyvit.graph.bridge_subgraph import Block
from qhyvit.graph.nodes import batch_axis


@dataclass(frozen=True)
class BlockStatistics:
    """Values of a block's inputs over all calibration images, and the gradient at its output, of the output's shape.

    An input that is a number is a multiple of the number of images: no other size is dynamic in a traced graph.
    """

    inputs: list[Tensor | int]
    gradient: Tensor


class BlockCollector:
    """Collector of the statistics of some blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.nodes = {node for block in blocks for node in block.inputs}
        self._seen: dict[str, list[tuple[list[Any], Tensor]]] = {block.name: [] for block in blocks}

    def add(self, values: Recorder, gradients: Recorder) -> None:
        """Add the values and gradients of one batch."""
        for block in self.blocks:
            inputs = [values.values[node] for node in block.inputs]
            self._seen[block.name].append((inputs, gradients.gradient(block.output)))

    def statistics(self) -> dict[str, BlockStatistics]:
        """Return the statistics of every block by its name."""
        return {block.name: _join(block, *zip(*self._seen[block.name], strict=True)) for block in self.blocks}


def _join(block: Block, inputs: Sequence[list[Any]], gradients: Sequence[Tensor]) -> BlockStatistics:
    """Join the batches along the axis of the images, which is not the first one in attention that has the sequence first."""
    by_input = zip(block.inputs, zip(*inputs, strict=True), strict=True)
    joined = [torch.cat(values, batch_axis(node)) if isinstance(values[0], Tensor) else sum(values) for node, values in by_input]
    return BlockStatistics(joined, torch.cat(tuple(gradients), batch_axis(block.output)))
