"""Comparison of an FP32 network with its published accuracy, before anything is quantized on ImageNet."""

from math import sqrt

from qhyvit.errors import InputError

# In points. Published accuracies are rounded, and those of the zoo differ from timm's own measurements by up to 0.3 (EfficientFormer-L1).
TOLERANCE = 0.3
NORMAL_QUANTILE = 1.96  # of a two-sided 95 % interval


def check_published_accuracy(model: str, measured: float, published: float, images: int) -> None:
    """Raise InputError if the FP32 top-1 of ``model`` is further from the published one than chance and rounding explain.

    ``measured`` and ``published`` are in percent, on the same number of ``images``. Chance is the half-width of the normal 95 % interval of
    the published accuracy; TOLERANCE is added to it.
    """
    allowed = TOLERANCE + NORMAL_QUANTILE * sqrt(published * (100 - published) / images)
    if abs(measured - published) > allowed:
        raise InputError(
            f"{model}: FP32 top-1 is {measured:.2f} %, published is {published:.2f} %, and at most {allowed:.2f} points between them are"
            " chance or rounding; check that the weights are the published ones, that dataset.mean, std, interpolation, input_size and"
            " crop_pct are those of their training, and that labels follow the order of the WordNet ids; or correct published.top1 of the"
            " models file"
        )
