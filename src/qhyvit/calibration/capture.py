"""Capture of ranges, sampled rows and gradients of all sites, in one forward and one backward pass over the calibration images.

Squared gradients replace the Hessian in the reconstruction error E[dO^T diag(g^2) dO] (Q-HyViT, Eq. 9).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx

from qhyvit.calibration.importance_sampling import SampledRows, StoredRows, broadcast, sample_rows
from qhyvit.calibration.losses import Loss, fisher_loss
from qhyvit.calibration.ranges import Range, observe
from qhyvit.calibration.recorder import Collector, Recorder, backward, on_cpu
from qhyvit.calibration.tensor_file import Read, TensorFile
from qhyvit.graph.sites import Site
from qhyvit.progress import track
from qhyvit.quantizers.base import NO_QUANTIZERS, Quantizers


@dataclass(frozen=True)
class SiteStatistics:
    """Range of each activation operand of a site, and what reads its sampled rows."""

    ranges: dict[str, Range]
    read_rows: Read[SampledRows]

    @property
    def rows(self) -> SampledRows:
        """Sampled rows, read anew."""
        return self.read_rows()


def capture(
    graph_module: fx.GraphModule,
    sites: Sequence[Site],
    batches: Iterable[Tensor],
    positions: int | None,
    seed: int,
    loss: Loss = fisher_loss,
    quantizers: Quantizers = NO_QUANTIZERS,
    *,
    watched: Sequence[Site] | None = None,
    values: Literal["exact", "quantized"] = "exact",
    ranges: Mapping[str, dict[str, Range]] | None = None,
    collectors: Sequence[Collector] = (),
) -> dict[str, SiteStatistics]:
    """Return statistics of sites over ``batches`` of images [B, C, H, W], at sampled output ``positions`` per image (None: all).

    Values are those of the FP32 network, or of the network with the ``quantizers``; gradients those of ``loss`` at the latter. The sites
    that are ``watched`` have statistics (None: all). Known ``ranges``, by site and operand, are not observed again. Further ``collectors``
    see the same passes. Raises InputError, with the site's name, when an activation or gradient is not finite.
    """
    batches = list(batches)
    watched = sites if watched is None else watched
    generator = torch.Generator().manual_seed(seed)
    lasting = {node for collector in collectors for node in collector.nodes}
    sampler = _Sampler(watched, lasting, positions, generator, len(batches) if ranges is None else None)
    kept = lasting.union(*(site.operand_nodes for site in watched))
    quantized_values = values == "quantized" and bool(quantizers)

    def record(inserted: Quantizers) -> Recorder:
        has_values, has_gradients = (bool(inserted) == wanted for wanted in (quantized_values, bool(quantizers)))
        recorder = Recorder(graph_module, sites, inserted, kept if has_values else (), watched if has_gradients else (), sampler.add)
        if has_values:
            sampler.values = recorder.values
        if has_gradients:
            sampler.gradients = recorder.gradients
        return recorder

    for images in track(batches, "calibrating"):
        sampler.start(len(images))
        exact, quantized = backward(record, images, loss, quantizers, generator)
        for node in [*sampler.waiting]:  # no gradient arrives there
            sampler.add(node, quantized.gradients[node])
        for collector in collectors:
            collector.add(quantized if quantized_values else exact, quantized)
        del exact, quantized  # free their values before the next batch runs
    ranges = sampler.ranges if ranges is None else ranges
    return {name: SiteStatistics(ranges[name], stored.read) for name, stored in sampler.rows.items()}


class _Sampler:
    """Ranges and sampled rows of the watched sites, batch by batch. A value is freed once no site that waits for its gradient reads it.

    ``lasting`` are nodes whose values and gradients stay to the end of the batch. ``batches`` is their number, None to observe no ranges.
    """

    values: dict[fx.Node, Any]  # those that the recorder of the values keeps of the batch
    gradients: dict[fx.Node, Tensor]  # likewise

    def __init__(
        self, watched: Sequence[Site], lasting: set[fx.Node], positions: int | None, generator: torch.Generator, batches: int | None
    ) -> None:
        self.watched, self.lasting, self.positions, self.generator, self.batches = watched, lasting, positions, generator, batches
        file = TensorFile()
        self.rows = {site.name: StoredRows(file) for site in watched}
        self.ranges: dict[str, dict[str, Range]] = {site.name: {} for site in watched}

    def start(self, images: int) -> None:
        """Start a batch of so many images."""
        self.images = images
        self.waiting = {site.node: site for site in self.watched}
        self._readers = Counter(node for site in self.watched for node in site.operand_nodes)

    def add(self, node: fx.Node, gradient: Tensor) -> None:
        """Sample the rows of the site at a node, whose gradient is known now, and free the operands that no other site needs."""
        site = self.waiting.pop(node)
        gradient = on_cpu(site.name, gradient)
        operands = broadcast(site, [self.values[operand] for operand in site.operand_nodes], gradient)
        self.rows[site.name].add(sample_rows(site, operands, gradient, self.images, self.positions, self.generator))
        if self.batches is not None:
            before = self.ranges[site.name]
            pairs = [(name, operand) for name, operand in zip(site.operands, operands, strict=True) if name != "weight"]
            self.ranges[site.name] = {name: observe(x, site.axis(name), self.batches, before.get(name)) for name, x in pairs}
        self._readers.subtract(site.operand_nodes)
        for operand in {*site.operand_nodes} - self.lasting:
            if not self._readers[operand]:
                del self.values[operand]
        if node in self.lasting:
            self.gradients[node] = gradient
