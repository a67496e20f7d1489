"""Latency of exported files on this machine."""

from collections.abc import Mapping
from statistics import median
from time import perf_counter

from torch import Tensor

from qhyvit.deploy.engines import Engine

ROUNDS, WARM_UP = 50, 5


def median_latencies(engines: Mapping[str, Engine], image: Tensor) -> dict[str, float]:
    """Return the median time of each engine for ``image`` [1, C, H, W], in milliseconds.

    The engines take turns, so that a machine that is busy for a while slows all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(WARM_UP + ROUNDS):
        for name, engine in engines.items():
            start = perf_counter()
            engine.logits(image)
            times[name].append(perf_counter() - start)
    return {name: 1000 * median(found[WARM_UP:]) for name, found in times.items()}
