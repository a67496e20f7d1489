import time

import numpy as np
import pandas as pd
import torch

from benchmarks.latency import WARM_UP, latencies, seconds_of, with_means


class Sleeper:
    def __init__(self, seconds, log, name):
        self.seconds, self.log, self.name = seconds, log, name

    def logits(self, images):
        self.log.append(self.name)
        time.sleep(self.seconds)
        return images


def test_engines_take_turns_and_each_has_its_own_time():
    log = []
    engines = {"fp32": Sleeper(0.004, log, "fp32"), "fast": Sleeper(0.001, log, "fast")}
    seconds = seconds_of(engines, torch.zeros(1), rounds=15)
    assert seconds.shape == (15, 2)
    rounds = [tuple(log[start : start + 2]) for start in range(0, len(log), 2)]
    assert len(rounds) == 15 + WARM_UP
    assert set(rounds) == {("fp32", "fast"), ("fast", "fp32")}
    assert (seconds.median() >= [0.004, 0.001]).all()
    assert seconds.fast.median() < seconds.fp32.median()


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
