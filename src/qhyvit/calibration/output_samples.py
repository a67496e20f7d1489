"""What calibration knows of tensor sites, whose tensors are quantized in full mode: ranges, and samples of their values."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qhyvit.calibration.ranges import Range, observe
from qhyvit.calibration.recorder import Recorder, require_finite
from qhyvit.graph.output_sites import OutputSite

OUTPUT_POSITIONS = 512  # enough for the squared errors of one channel's few candidate scales, and small beside the rows of the sites


@dataclass(frozen=True)
class OutputStatistics:
    """What calibration knows of a tensor site: its range and the ``sample`` [N, C] of its values at some positions.

    C are the channels. Of a tensor without a channel axis, a softmax, C is its last axis, so that a position is a whole distribution.
    """

    range: Range
    sample: Tensor


class OutputCollector:
    """Gathers the statistics of some tensor sites.

    The samples are drawn uniformly and without repetition, from each of ``batches`` its share of at most `OUTPUT_POSITIONS`, by a generator
    of this class alone: what else is drawn from the same ``seed`` does not depend on the tensor sites.
    """

    def __init__(self, tensors: Sequence[OutputSite], batches: int, seed: int) -> None:
        self.tensors, self.batches = tensors, batches
        self.nodes = {tensor.node for tensor in tensors}
        self._generator = torch.Generator().manual_seed(seed)
        self._ranges: dict[str, Range] = {}
        self._samples: dict[str, list[Tensor]] = {tensor.name: [] for tensor in tensors}

    def add(self, values: Recorder, gradients: Recorder) -> None:
        """Take those of one batch. Raises InputError, with the site's name, when a tensor is not finite."""
        for tensor in self.tensors:
            found = values.values[tensor.node]
            require_finite(tensor.name, found)
            self._ranges[tensor.name] = observe(found, tensor.axis, self.batches, self._ranges.get(tensor.name))
            self._samples[tensor.name].append(self._draw(found, tensor.axis))

    def statistics(self) -> dict[str, OutputStatistics]:
        """Those of every tensor site, by its name."""
        return {name: OutputStatistics(found, torch.cat(self._samples[name])[:OUTPUT_POSITIONS]) for name, found in self._ranges.items()}

    def _draw(self, x: Tensor, axis: int | None) -> Tensor:
        positions = x.movedim(-1 if axis is None else axis, -1).flatten(0, -2)
        return positions[torch.randperm(len(positions), generator=self._generator)[: -(-OUTPUT_POSITIONS // self.batches)]]
