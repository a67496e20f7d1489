"""Run a network over images and compare what it says with the labels and with the FP32 network."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader

from qhyvit.data.entries import LabelledImages


@torch.no_grad()
def predict(networks: Sequence[nn.Module], images: LabelledImages, batch_size: int, device: str = "cpu") -> tuple[list[Tensor], Tensor]:
    """Logits [N, classes] of each of the ``networks`` and labels [N] over all ``images``, in order; every image is read once.

    The networks are on ``device``; what comes back is on the CPU.
    """
    for network in networks:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the faster layout for convolutions on CPUs
    logits: list[list[Tensor]] = [[] for _ in networks]
    labels = []
    for inputs, batch_labels in track(DataLoader(images, batch_size), "evaluating"):
        shared = inputs.to(device).contiguous(memory_format=torch.channels_last)
        for network, found in zip(networks, logits, strict=True):
            found.append(network(shared).cpu())
        labels.append(batch_labels)
    return [torch.cat(found) for found in logits], torch.cat(labels)


def top_k_correct(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether each label [N] is among the ``k`` largest of its logits [N, classes] (all, where there are fewer): bool [N]."""
    return (logits.topk(min(k, logits.shape[1]), dim=1).indices == labels[:, None]).any(dim=1)


def mean_kl(reference: Tensor, logits: Tensor) -> float:
    """The mean over images of KL(softmax(reference) || softmax(logits)), in nats."""
    divergence = F.kl_div(logits.double().log_softmax(1), reference.double().log_softmax(1), reduction="batchmean", log_target=True)
    return float(divergence)


def signal_to_noise(reference: Tensor, logits: Tensor) -> float:
    """The signal-to-quantization-noise ratio of the logits, in dB; infinite where they are equal."""
    noise = (logits.double() - reference.double()).square().sum()
    return float(10 * torch.log10(reference.double().square().sum() / noise))
