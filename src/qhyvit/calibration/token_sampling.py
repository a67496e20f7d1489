"""Uniform sampling of whole tokens and pixels, for an objective that compares all output features of a token and needs no gradient."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, fx

from qhyvit.calibration.importance_sampling import SampledRows, StoredRows, broadcast, sample_rows
from qhyvit.calibration.recorder import Recorder
from qhyvit.calibration.tensor_file import Read, TensorFile
from qhyvit.graph.sites import Site
from qhyvit.quantizers.base import NO_QUANTIZERS


@torch.no_grad()
def sample_tokens(
    graph_module: fx.GraphModule, sites: Sequence[Site], batches: Iterable[Tensor], positions: int | None, seed: int
) -> dict[str, Read[SampledRows]]:
    """Return what reads the sampled rows of each site of the FP32 network, by name; their gradients are 0.

    They are at ``positions`` per image (None: all). All groups of a convolution have rows of the same pixels, and each token or pixel is as
    likely as any other.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = {node for site in sites for node in (site.node, *site.operand_nodes)}
    file = TensorFile()
    rows = {site.name: StoredRows(file) for site in sites}
    for images in batches:
        recorder = Recorder(graph_module, sites, NO_QUANTIZERS, kept, ())
        recorder.run(images)
        for site in sites:
            output = torch.zeros_like(recorder.values[site.node], memory_format=torch.contiguous_format)
            operands = broadcast(site, [recorder.values[node] for node in site.operand_nodes], output)
            rows[site.name].add(sample_rows(site, operands, output, len(images), positions, generator, whole_pixels=True))
    return {name: stored.read for name, stored in rows.items()}
