"""Results averaged over seeds, each of which draws the calibration images, with intervals that allow for images and draws."""

from typing import Any

import numpy as np
import pandas as pd

from qhyvit.evaluation.statistics import crossed_mean
from qhyvit.reporting.catalog import FP32
from qhyvit.reporting.correctness import decode, read_correct
from qhyvit.reporting.runs import CELL, KEY, MEANS, read_results
from qhyvit.reporting.sources import Sources

INTERVAL = ["drop_low", "drop_high"]
COLUMNS = ["dataset", *CELL, "family", "seeds", "images", *MEANS, *INTERVAL]


def read_averaged(sources: Sources) -> pd.DataFrame:
    """Return the results that are `averaged` from results.csv and correct.csv."""
    return averaged(read_results(sources.one("results")), read_correct(sources.one("correct")))


def averaged(results: pd.DataFrame, correct: pd.DataFrame) -> pd.DataFrame:
    """Return COLUMNS for each data set and `CELL` of the quantized runs: the number of seeds, MEANS over them, the interval of the drop.

    ``results`` is results.csv, ``correct`` a `correct_table` of the same runs. The interval of one seed is that of its run, over images; of
    several seeds it is over images and seeds (`crossed_mean`).
    """
    runs = results.merge(correct[[*KEY, "correct"]], on=KEY, validate="one_to_one")
    references = runs.loc[runs.method == FP32, ["dataset", "model", "correct"]]
    quantized = runs[runs.method != FP32].merge(references, on=["dataset", "model"], suffixes=("", "_fp32"), validate="many_to_one")
    rows = [
        dict(zip(["dataset", *CELL], cell, strict=True)) | _averaged(of_seed) for cell, of_seed in quantized.groupby(["dataset", *CELL])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _averaged(of_seed: pd.DataFrame) -> dict[str, Any]:
    first, images = of_seed.iloc[0], int(of_seed.images.iloc[0])
    row = {"family": first.family, "seeds": len(of_seed), "images": images} | {name: of_seed[name].mean() for name in MEANS}
    if len(of_seed) == 1:
        return row | {name: first[name] for name in INTERVAL}
    hits = np.stack([decode(correct, images) for correct in of_seed.correct])
    drop, _ = crossed_mean(100 * (decode(first.correct_fp32, images) - hits.astype(float)))
    return row | {"drop_low": drop.low, "drop_high": drop.high}
