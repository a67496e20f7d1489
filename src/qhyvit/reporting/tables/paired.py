"""Methods against each other, image by image: how many points one is above the other, on each network and on the mean of all."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from qhyvit.evaluation.statistics import CONFIDENCE, holm
from qhyvit.reporting.correctness import decode
from qhyvit.reporting.runs import FP32
from qhyvit.reporting.search_steps import STEPS
from qhyvit.reporting.tables.comparison import bits_shown, decimals

METHOD = "qhyvit"
MEAN = "mean"
SETTING = ["dataset", "mode", "w_bits", "a_bits", "method"]
RUN = ["dataset", "model", "mode", "w_bits", "a_bits", "seed"]
COLUMNS = [*SETTING, "model", "runs", "images", "gain", "low", "high", "p"]
_CAPTION = (
    "on the same images, with the 95 % interval over images (Student's t); several seeds are averaged, and so are networks in the last"
    " column. An asterisk marks what is not chance: all cells of the table are one family of tests, of which any is marked wrongly with a"
    " chance of at most 5 % (Holm)."
)
CAPTION = f"Points by which the top-1 of {METHOD} is above that of another method {_CAPTION}"
ABLATION_CAPTION = (
    f"Points by which the top-1 of each step of the search is above that of the step before, the first {next(iter(STEPS))}, {_CAPTION}"
)


def paired(hits: pd.DataFrame) -> pd.DataFrame:
    """A row for each mode, bit-width, other method and network of a `hits_table`, and one for the mean of all networks: COLUMNS.

    The ``gain`` of `METHOD` and its interval are in points, over so many ``runs`` (networks and seeds); ``p`` is adjusted. Runs are paired
    with those of the same network and seed, whose images are the same.
    """
    return _gains(hits, {other: (METHOD, other) for other in sorted(set(hits.method) - {FP32, METHOD})})


def ablation(hits: pd.DataFrame) -> pd.DataFrame:
    """The same of every step of the search, as ``method``, over the step before it."""
    return _gains(hits, {step: (step, before) for before, step in pairwise(STEPS)})


def _gains(hits: pd.DataFrame, pairs: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """COLUMNS for each of ``pairs``, by what the row is called: the method whose gain it is, and the one that it is over."""
    methods = dict(list(hits.groupby("method")))
    compared = [
        methods[upper].merge(methods[lower], on=[*RUN, "images_hash"], suffixes=("", "_lower")).assign(method=name)
        for name, (upper, lower) in pairs.items()
        if {upper, lower} <= set(methods)
    ]
    rows = [
        dict(zip(SETTING, setting, strict=True)) | {"model": model} | _tested([_difference(run) for run in of_model.to_dict("records")])
        for of_pair in compared
        for setting, of_setting in of_pair.groupby(SETTING)
        for model, of_model in [*of_setting.groupby("model"), (MEAN, of_setting)]
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    tested = table.p.notna()  # equal hits on all images need no test
    table.loc[tested, "p"] = holm(table.p[tested].to_numpy(float))
    return table.sort_values(SETTING[:-1], ascending=[True, False, False, False], kind="stable", ignore_index=True)


def paired_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """What `paired` and `ablation` return, for people: a column a network."""
    gain = decimals(rows.gain) + " [" + decimals(rows.low) + ", " + decimals(rows.high) + "]"
    cells = rows.assign(bits=bits_shown(rows), cell=gain + np.where(rows.p < 1 - CONFIDENCE, "*", ""))
    index = ["mode", "bits", "method"]
    wide = cells.pivot(index=index, columns="model", values="cell")
    wide = wide.reindex(pd.MultiIndex.from_frame(cells[index].drop_duplicates()))
    return wide[[*wide.columns.drop(MEAN), MEAN]].reset_index().rename_axis(columns=None)


def _difference(run: Mapping[str, Any]) -> np.ndarray:
    """For each image [N] 1 where only the method hits, -1 where only the other does."""
    return decode(run["hits"], run["images"]).astype(float) - decode(run["hits_lower"], run["images"])


def _tested(differences: list[np.ndarray]) -> dict[str, float]:
    by_image = 100 * np.mean(np.stack(differences), axis=0)
    found = {"runs": len(differences), "images": len(by_image), "gain": by_image.mean()}
    if not by_image.any():
        return found | {"low": 0.0, "high": 0.0}
    test = ttest_1samp(by_image, 0)
    low, high = test.confidence_interval(CONFIDENCE)
    return found | {"low": low, "high": high, "p": test.pvalue}
