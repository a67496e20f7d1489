"""Run networks over images."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from qhyvit.graph.memory_layout import with_channels_last
from qhyvit.progress import track


@torch.no_grad()
def predict(networks: Sequence[nn.Module], batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], Tensor]:
    """Return the logits [N, classes] of each of the ``networks`` and the labels [N] of all images, in order, on the CPU.

    The ``batches`` are inputs on the device of the networks, and labels; they are read once. The networks keep their memory layout, on
    which sums in float32 depend.
    """
    copies = [with_channels_last(network) for network in networks]
    logits: list[list[Tensor]] = [[] for _ in copies]
    labels = []
    for inputs, batch_labels in track(batches, "evaluating"):
        shared = inputs.contiguous(memory_format=torch.channels_last)
        for network, found in zip(copies, logits, strict=True):
            found.append(network(shared).cpu())
        labels.append(batch_labels)
    return [torch.cat(found) for found in logits], torch.cat(labels)
