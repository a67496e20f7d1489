"""Run a network over images and compare what it says with the labels and with the FP32 network."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from qhyvit.data.folder import LabelledImages


@torch.no_grad()
def predict(network: Callable[[Tensor], Tensor], images: LabelledImages, batch_size: int) -> tuple[Tensor, Tensor]:
    """Logits [N, classes] and labels [N] over all ``images``, in order."""
    batches = [(network(inputs), labels) for inputs, labels in track(DataLoader(images, batch_size), "evaluating")]
    logits, labels = zip(*batches, strict=True)
    return torch.cat(logits), torch.cat(labels)


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
