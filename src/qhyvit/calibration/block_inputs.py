"""Statistics for the joint search of bridge blocks: values that enter each block, and gradients at its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from qhyvit.calibration.recorder import Recorder
from qhyvit.calibration.tensor_file import Read, TensorFile, in_memory
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
        self.nodes = {node for block in blocks for node in (*block.inputs, block.output)}
        self._file = TensorFile()
        self._seen: dict[str, list[tuple[list[Read[Any]], Read[Tensor]]]] = {block.name: [] for block in blocks}

    def add(self, values: Recorder, gradients: Recorder) -> None:
        """Add the values and gradients of one batch."""
        for block in self.blocks:
            inputs = [self._keep(values.values[node]) for node in block.inputs]
            self._seen[block.name].append((inputs, self._file.write(gradients.gradient(block.output))))

    def statistics(self) -> dict[str, Read[BlockStatistics]]:
        """Return what reads the statistics of each block, by its name."""
        return {block.name: partial(_join, block, *zip(*self._seen[block.name], strict=True)) for block in self.blocks}

    def _keep(self, value: Tensor | int) -> Read[Any]:
        return self._file.write(value) if isinstance(value, Tensor) else in_memory(value)


def _join(block: Block, stored: Sequence[list[Read[Any]]], gradients: Sequence[Read[Tensor]]) -> BlockStatistics:
    """Join the batches along the axis of the images, which is not the first one in attention that has the sequence first."""
    inputs = ([read() for read in values] for values in zip(*stored, strict=True))
    by_input = zip(block.inputs, inputs, strict=True)
    joined = [torch.cat(values, batch_axis(node)) if isinstance(values[0], Tensor) else sum(values) for node, values in by_input]
    return BlockStatistics(joined, torch.cat([read() for read in gradients], batch_axis(block.output)))
