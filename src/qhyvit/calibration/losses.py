"""Losses whose gradients weight the errors: of logits [B, classes], given those of the FP32 network and a random generator."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Loss = Callable[[Tensor, Tensor, Generator], Tensor]


def fisher_loss(logits: Tensor, reference: Tensor, generator: Generator) -> Tensor:
    """Return the summed cross-entropy to labels sampled from the softmax of ``reference``.

    At the FP32 network the second moment of its gradients is the Fisher information.
    """
    labels = torch.multinomial(reference.detach().softmax(1).cpu(), 1, generator=generator)[:, 0]
    return F.cross_entropy(logits, labels.to(logits.device), reduction="sum")


def kl_loss(logits: Tensor, reference: Tensor, generator: Generator) -> Tensor:
    """Return KL(softmax(reference) || softmax(logits)), summed over the images, as in PTQ4ViT (arXiv 2111.12293, Section 3.3).

    At the FP32 network itself its gradients are floating-point noise.
    """
    return F.kl_div(logits.log_softmax(1), reference.detach().softmax(1), reduction="sum")
