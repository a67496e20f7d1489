"""Statistics for the joint search of bridge blocks: values that enter each block, and gradients at its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qhyvit.calibration.recorder import Recorder
from qhyvit.graph.bridge_subgraph import Block


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
        return {name: _joined(*zip(*batches, strict=True)) for name, batches in self._seen.items()}


def _joined(inputs: Sequence[list[Any]], gradients: Sequence[Tensor]) -> BlockStatistics:
    whole = [torch.cat(values) if isinstance(values[0], Tensor) else sum(values) for values in zip(*inputs, strict=True)]
    return BlockStatistics(whole, torch.cat(tuple(gradients)))
