"""Agreement of an exported model with the simulation of its quantization."""

from torch import Tensor


def agreement(simulated: Tensor, found: Tensor) -> dict[str, float]:
    """Compare the logits of the engine with the ``simulated`` ones, both [N, classes].

    ``agreement`` is the share of images with equal top-1, in percent. Differences of logits are relative to the largest simulated logit of
    all images: the largest of any image, and the median over images of the largest of each. Where values lie on a rounding tie of a grid,
    sums in another order move them by a step, so that single images may differ though the arithmetic is exact.
    """
    differences = (found.double() - simulated.double()).abs().amax(dim=1) / simulated.double().abs().max()
    return {
        "agreement": 100 * float((found.argmax(dim=1) == simulated.argmax(dim=1)).double().mean()),
        "median_difference": float(differences.median()),
        "largest_difference": float(differences.max()),
    }
