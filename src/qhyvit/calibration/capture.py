"""Capture of ranges, sampled rows and gradients of all sites, in one forward and one backward pass over the calibration images.

Squared gradients replace the Hessian in the reconstruction error E[dO^T diag(g^2) dO] (Q-HyViT, Eq. 9).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, fx

from qhyvit.calibration.importance_sampling import SampledRows, StoredRows, broadcast, sample_rows
from qhyvit.calibration.losses import Loss, fisher_loss
from qhyvit.calibration.ranges import Range, observe
from qhyvit.calibration.recorder import Collector, Recorder, backward
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
    file = TensorFile()
    rows = {site.name: StoredRows(file) for site in watched}
    observed: dict[str, dict[str, Range]] = {site.name: {} for site in watched}
    kept = {node for site in watched for node in site.operand_nodes}.union(*(collector.nodes for collector in collectors))
    quantized_values = values == "quantized" and bool(quantizers)

    def record(inserted: Quantizers) -> Recorder:
        has_values, has_gradients = (bool(inserted) == wanted for wanted in (quantized_values, bool(quantizers)))
        return Recorder(graph_module, sites, inserted, kept if has_values else (), watched if has_gradients else ())

    for images in track(batches, "calibrating"):
        exact, quantized = backward(record, images, loss, quantizers, generator)
        recorder = quantized if quantized_values else exact
        for site in watched:
            gradient = quantized.gradient(site.node)
            operands = broadcast(site, [recorder.values[node] for node in site.operand_nodes], gradient)
            rows[site.name].add(sample_rows(site, operands, gradient, len(images), positions, generator))
            if ranges is None:
                observed[site.name] = _observed(site, operands, len(batches), observed[site.name])
        for collector in collectors:
            collector.add(recorder, quantized)
        del exact, quantized, recorder  # free their values before the next batch runs
    ranges = observed if ranges is None else ranges
    return {name: SiteStatistics(ranges[name], stored.read) for name, stored in rows.items()}


def _observed(site: Site, operands: tuple[Tensor, Tensor], batches: int, before: dict[str, Range]) -> dict[str, Range]:
    pairs = zip(site.operands, operands, strict=True)
    return {name: observe(operand, site.axis(name), batches, before.get(name)) for name, operand in pairs if name != "weight"}
