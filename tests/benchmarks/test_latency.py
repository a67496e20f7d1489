from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from benchmarks import latency
from benchmarks.latency import WARM_UP, latencies, seconds_of, with_means


class Clock:
    """A clock that an engine moves on by its own time."""

    def __init__(self):
        self.now = 0.0

    def engine(self, seconds, log, name):
        def logits(images):
            log.append(name)
            self.now += seconds
            return images

        return SimpleNamespace(logits=logits)


def test_engines_take_turns_and_each_has_its_own_time(monkeypatch):
    log, clock = [], Clock()
    monkeypatch.setattr(latency, "perf_counter", lambda: clock.now)
    engines = {"fp32": clock.engine(0.5, log, "fp32"), "fast": clock.engine(0.125, log, "fast")}
    seconds = seconds_of(engines, torch.zeros(1), rounds=15)
    assert seconds.shape == (15, 2)
    rounds = [tuple(log[start : start + 2]) for start in range(0, len(log), 2)]
    assert len(rounds) == 15 + WARM_UP
    assert set(rounds) == {("fp32", "fast"), ("fast", "fp32")}
    assert (seconds == [0.5, 0.125]).all(axis=None)


def simulated(generator, ratio, rounds):
    """Times with a disturbance that both engines of a round share."""
    shared = generator.lognormal(0, 0.3, rounds)
    return pd.DataFrame({name: level * shared * generator.lognormal(0, 0.1, rounds) for name, level in (("fp32", 1.0), ("own", ratio))})


def test_interval_of_the_ratio_covers_the_true_one():
    generator = np.random.default_rng(0)
    found = [latencies(simulated(generator, 0.5, 60)).set_index("method").loc["own"] for _ in range(20)]
    covered = np.mean([row.relative_low <= 0.5 <= row.relative_high for row in found])
    assert covered >= 0.8  # of a nominal 0.95, with 20 experiments
    assert abs(np.mean([row.relative for row in found]) - 0.5) < 0.02


def test_ratio_of_fp32_to_itself_is_one():
    row = latencies(simulated(np.random.default_rng(0), 0.5, 20)).set_index("method").loc["fp32"]
    assert (row.relative, row.relative_low, row.relative_high) == (1, 1, 1)


def test_mean_over_networks_is_geometric():
    rows = pd.DataFrame({"model": ["a", "b"], "method": "own", "engine": "openvino", "relative": [0.25, 1.0]})
    assert with_means(rows).iloc[-1][["model", "relative"]].tolist() == ["geometric mean", 0.5]
