"""Results averaged over seeds: their intervals are over images alone with one seed, over images and draws with several."""

import numpy as np
import pandas as pd
import pytest

from qhyvit.evaluation.statistics import crossed_mean
from qhyvit.reporting.averaged import averaged
from qhyvit.reporting.correctness import encode

IMAGES = 200
FP32 = np.ones(IMAGES, bool)


def tables(*hits):
    """results.csv and correct.csv of a network whose seeds get ``hits`` right, with an interval of one point to both sides."""
    runs = [("fp32", "", 32, 0, FP32), *(("minmax", "partial", 8, seed, correct) for seed, correct in enumerate(hits))]
    rows = [
        {
            **{"dataset": "d", "model": "net", "family": "F", "method": method, "mode": mode, "w_bits": bits, "a_bits": bits},
            **{"seed": seed, "images": IMAGES, "top1": 100 * correct.mean(), "top1_fp32": 100.0, "drop": 100 - 100 * correct.mean()},
            **{"drop_low": 99 - 100 * correct.mean(), "drop_high": 101 - 100 * correct.mean(), "correct": encode(correct)},
        }
        for method, mode, bits, seed, correct in runs
    ]
    table = pd.DataFrame(rows)
    return table.drop(columns="correct"), table


def wrong(*images):
    return ~np.isin(np.arange(IMAGES), images)


def test_one_seed_keeps_the_interval_of_its_run():
    (row,) = averaged(*tables(wrong(*range(20)))).to_dict("records")
    assert (row["seeds"], row["top1"], row["drop"], row["drop_low"], row["drop_high"]) == (1, 90, 10, 9, 11)


def test_several_seeds_have_the_interval_of_their_crossed_mean():
    hits = [wrong(*range(20)), wrong(*range(10, 40)), wrong(*range(4))]
    (row,) = averaged(*tables(*hits)).to_dict("records")
    drop, _ = crossed_mean(100 * (FP32 - np.stack(hits).astype(float)))
    assert (row["seeds"], row["top1"], row["drop"]) == pytest.approx((3, 91, 9))
    assert (row["drop"], row["drop_low"], row["drop_high"]) == pytest.approx(drop)


def test_draws_that_differ_widen_the_interval():
    alike = averaged(*tables(wrong(*range(20)), wrong(*range(20)), wrong(*range(20))))
    apart = averaged(*tables(wrong(*range(40)), wrong(*range(20)), wrong()))
    assert alike["drop"].item() == apart["drop"].item() == 10
    assert alike.drop_high.item() - 10 == pytest.approx(1.96 * 100 * np.sqrt(0.1 * 0.9 / IMAGES), rel=0.02)  # of images alone
    assert apart.drop_high.item() - 10 > 20  # 4.3 standard errors of draws that are 10 points apart
