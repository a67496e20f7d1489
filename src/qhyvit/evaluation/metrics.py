"""Compare logits with labels and with the logits of the FP32 network."""

import torch
import torch.nn.functional as F
from torch import Tensor


def top_k_correct(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Tell if each label [N] is among the ``k`` largest of its logits [N, classes], or among all if there are fewer: bool [N]."""
    return (logits.topk(min(k, logits.shape[1]), dim=1).indices == labels[:, None]).any(dim=1)


def mean_kl(reference: Tensor, logits: Tensor) -> float:
    """Return the mean over images of KL(softmax(reference) || softmax(logits)), in nats; both are [N, classes]."""
    divergence = F.kl_div(logits.double().log_softmax(1), reference.double().log_softmax(1), reduction="batchmean", log_target=True)
    return float(divergence)


def signal_to_noise(reference: Tensor, logits: Tensor) -> float:
    """Return the signal-to-quantization-noise ratio of logits [N, classes], in dB; infinite if they equal the reference."""
    noise = (logits.double() - reference.double()).square().sum()
    return float(10 * torch.log10(reference.double().square().sum() / noise))
