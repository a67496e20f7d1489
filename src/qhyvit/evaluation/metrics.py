"""Compare logits with labels and with the logits of the FP32 network."""

import torch.nn.functional as F
from torch import Tensor


def top1_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Tell if each label [N] is the largest of its logits [N, classes]: bool [N]."""
    return logits.topk(1, dim=1).indices[:, 0] == labels


def mean_kl(reference: Tensor, logits: Tensor) -> float:
    """Return the mean over images of KL(softmax(reference) || softmax(logits)), in nats; both are [N, classes]."""
    divergence = F.kl_div(logits.double().log_softmax(1), reference.double().log_softmax(1), reduction="batchmean", log_target=True)
    return float(divergence)
