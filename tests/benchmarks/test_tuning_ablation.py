import numpy as np
import pandas as pd
import pytest

from benchmarks.tuning_ablation import METHOD, ablation, processors_by_seed
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.correctness import COLUMNS, encode


def run(method, seed, digits, bits=4):
    """Return the run of a method on a network, whose correct images are the 1s of ``digits``."""
    setting = {"dataset": "d", "mode": "partial", "w_bits": bits, "a_bits": bits, "images": 8, "images_hash": "0", "model": "a"}
    return setting | {"method": method, "seed": seed, "correct": encode(np.array(list(digits), int) == 1)}


def test_gains_are_means_over_the_draws_of_all_reports_at_their_shared_bits():
    first = [run(METHOD, 0, "11111111"), run("no-weights", 0, "11110000"), run(METHOD, 0, "1" * 8, 6), run("no-weights", 0, "0" * 8, 6)]
    second = [run(METHOD, 1, "11111111"), run("no-weights", 1, "11111100")]
    rows = ablation([pd.DataFrame(rows, columns=COLUMNS) for rows in (first, second)], MethodCatalog({}, {}, {}))
    assert rows[["baseline", "w_bits", "seeds"]].to_numpy().tolist() == [["no-weights", 4, 2]]
    assert rows.gain.item() == pytest.approx((50 + 25) / 2)


def test_processors_are_named_with_their_seeds():
    runs = pd.DataFrame({"processor": ["New", "Old", "New"], "seed": [2, 0, 1]})
    assert processors_by_seed(runs) == "New, seed 1 and 2; Old, seed 0"
