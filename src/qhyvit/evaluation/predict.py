"""Run networks over images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from qhyvit.data.entries import LabelledImages
from qhyvit.graph.memory_layout import with_channels_last
from qhyvit.progress import track


@torch.no_grad()
def predict(networks: Sequence[nn.Module], images: LabelledImages, batch_size: int, device: str = "cpu") -> tuple[list[Tensor], Tensor]:
    """Return the logits [N, classes] of each of the ``networks`` and the labels [N] of all ``images``, in order, on the CPU.

    The networks are on ``device``, and keep their memory layout, on which sums in float32 depend. Every image is read once.
    """
    copies = [with_channels_last(network) for network in networks]
    logits: list[list[Tensor]] = [[] for _ in copies]
    labels = []
    for inputs, batch_labels in track(DataLoader(images, batch_size), "evaluating"):
        shared = inputs.to(device).contiguous(memory_format=torch.channels_last)
        for network, batches in zip(copies, logits, strict=True):
            batches.append(network(shared).cpu())
        labels.append(batch_labels)
    return [torch.cat(batches) for batches in logits], torch.cat(labels)
