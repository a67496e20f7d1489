"""Folds of one experiment as one: every image is evaluated in one fold, on networks calibrated on images of the other folds."""

from typing import Any

from qhyvit.reporting.runs import CELL

RUN = ("family", *CELL, "seed")
MEANS = ("top1", "kl")


def pooled(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one result for all that differ only in the data set: the correct images of all, and the means over their images.

    The results come fold by fold, so that the images of all methods are in the same order.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(tuple(result[name] for name in RUN), []).append(result)
    return [_pool(folds) for folds in groups.values()]


def _pool(folds: list[dict[str, Any]]) -> dict[str, Any]:
    images = sum(fold["images"] for fold in folds)
    means = {name: sum(fold[name] * fold["images"] for fold in folds) / images for name in MEANS if name in folds[0]}
    return {
        "dataset": "+".join(fold["dataset"] for fold in folds),
        **{name: folds[0][name] for name in RUN},
        "images": images,
        **means,
        "correct": "".join(fold["correct"] for fold in folds),
    }
