"""Statistics of output sites, which full mode quantizes: ranges, and samples of their values."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qhyvit.calibration.ranges import Range, observe
from qhyvit.calibration.recorder import Recorder, require_finite
from qhyvit.graph.output_sites import OutputSite

OUTPUT_POSITIONS = 512  # enough for the squared errors of a channel's few candidate scales, and little next to the rows of the sites


@dataclass(frozen=True)
class OutputStatistics:
    """Range of an output site, and the ``sample`` [N, C] of its values at N positions.

    C are the channels. For a softmax, which has no channel axis, C is its last axis, so that a position is a whole distribution.
    """

    range: Range
    sample: Tensor


class OutputCollector:
    """Collector of the statistics of some output sites.

    Positions are drawn uniformly without replacement, at most `OUTPUT_POSITIONS` in all. Batches have equal shares, except the last, which
    has the remainder. If the remainder would be 0, the shares differ by at most 1. A batch of fewer images than the first has a smaller
    share. The generator is this class's own, so that other draws from the same ``seed`` do not depend on the output sites.
    """

    def __init__(self, sites: Sequence[OutputSite], batches: int, seed: int) -> None:
        self.sites, self.batches = sites, batches
        self.nodes = {site.node for site in sites}
        self._generator = torch.Generator().manual_seed(seed)
        self._ranges: dict[str, Range] = {}
        self._samples: dict[str, list[Tensor]] = {site.name: [] for site in sites}

    def add(self, values: Recorder, gradients: Recorder) -> None:
        """Add the values of one batch. Raises InputError, with the site's name, when one is not finite."""
        for site in self.sites:
            output = values.values[site.node]
            require_finite(site.name, output)
            observed = observe(output, site.axis, self.batches, self._ranges.get(site.name))
            count = self._share(len(observed.counts) - 1) * observed.counts[-1] // observed.counts[0]
            self._samples[site.name].append(self._sample(output, site.axis, count))
            self._ranges[site.name] = observed

    def statistics(self) -> dict[str, OutputStatistics]:
        """Return the statistics of every output site by its name."""
        samples = {name: torch.cat(parts)[:OUTPUT_POSITIONS] for name, parts in self._samples.items()}
        return {name: OutputStatistics(observed, samples[name]) for name, observed in self._ranges.items()}

    def _share(self, batch: int) -> int:
        """Return the number of positions of a batch, from 0."""
        equal = -(-OUTPUT_POSITIONS // self.batches)
        if equal * (self.batches - 1) < OUTPUT_POSITIONS:
            return equal
        start, end = (OUTPUT_POSITIONS * edge // self.batches for edge in (batch, batch + 1))
        return end - start

    def _sample(self, x: Tensor, axis: int | None, count: int) -> Tensor:
        positions = x.movedim(-1 if axis is None else axis, -1).flatten(0, -2)
        return positions[torch.randperm(len(positions), generator=self._generator)[:count]]
