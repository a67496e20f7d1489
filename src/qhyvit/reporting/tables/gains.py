"""Gains of methods over baselines, image by image: points of top-1 on each network and on the mean of all."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from qhyvit.evaluation.statistics import CONFIDENCE, crossed_mean, holm
from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.correctness import decode
from qhyvit.reporting.runs import BITS, KEY, bits_shown, in_order
from qhyvit.reporting.write import interval_shown

MEAN = "mean"
RUN = [name for name in KEY if name != "method"]
SETTING = ["dataset", "mode", *BITS, "method", "baseline"]
COLUMNS = [*SETTING, "model", "runs", "seeds", "images", "gain", "low", "high", "p"]


def gains(correct: pd.DataFrame, pairs: Iterable[tuple[str, str]], methods: MethodCatalog) -> pd.DataFrame:
    """Return COLUMNS for each pair of a method and a baseline, per setting and network, and for the mean of several networks.

    ``correct`` is a `correct_table`. The ``gain`` and its interval are in points, over so many ``runs`` (networks and seeds); ``p`` is
    adjusted for all rows. Runs are paired with those of the same network and seed on the same images. The mean is over the
    seeds that all networks have, so that each network weighs as much; it is left out if there are none. Networks are averaged as they are;
    images are a source of chance, and so are seeds where there are several (`crossed_mean`).
    """
    of_method = dict(list(correct.groupby("method")))
    rows = [
        dict(zip(SETTING, setting, strict=True)) | {"model": model} | _tested(of_model)
        for method, baseline in pairs
        if {method, baseline} <= of_method.keys()
        for setting, of_setting in _joined(of_method[method], of_method[baseline]).groupby(SETTING)
        for model, of_model in [*of_setting.groupby("model"), (MEAN, _of_shared_seeds(of_setting))]
        if not of_model.empty and (model != MEAN or of_model.model.nunique() > 1)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    tested = table.p.notna()  # equal results on all images need no test
    table.loc[tested, "p"] = holm(table.p[tested].to_numpy(float))
    return in_order(table, methods, SETTING)


def gains_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `gains` as text, one column per network; an asterisk marks p < 0.05."""
    gain = interval_shown(rows.gain, rows.low, rows.high)
    cells = rows.assign(bits=bits_shown(rows), cell=gain + np.where(rows.p < 1 - CONFIDENCE, "*", ""))
    index = ["mode", "bits", "method", "baseline"]
    wide = cells.pivot(index=index, columns="model", values="cell")
    wide = wide.reindex(pd.MultiIndex.from_frame(cells[index].drop_duplicates()))
    networks = [model for model in wide.columns if model != MEAN]
    return wide.reindex(columns=[*networks, MEAN]).fillna("").reset_index().rename_axis(columns=None)


def _joined(method: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    named = baseline.rename(columns={"method": "baseline"})
    return method.merge(named, on=[*RUN, "images_hash"], suffixes=("", "_baseline"))


def _of_shared_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the seeds that all networks have."""
    networks = runs.groupby("seed").model.transform("nunique")
    return runs[networks == runs.model.nunique()]


def _difference(run: Mapping[Any, Any]) -> np.ndarray:
    """Return for each image [N] 1 if only the method is correct, -1 if only the baseline is, else 0."""
    return decode(run["correct"], run["images"]).astype(float) - decode(run["correct_baseline"], run["images"])


def _tested(runs: pd.DataFrame) -> dict[str, float]:
    differences = [np.mean([_difference(run) for run in of_seed.to_dict("records")], axis=0) for _, of_seed in runs.groupby("seed")]
    by_seed = 100 * np.stack(differences)
    gain, p = crossed_mean(by_seed)
    row = {"runs": len(runs), "seeds": by_seed.shape[0], "images": by_seed.shape[1]}
    return row | {"gain": gain.value, "low": gain.low, "high": gain.high, "p": p if by_seed.any() else np.nan}
