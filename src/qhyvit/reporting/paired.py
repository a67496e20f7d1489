"""Q-HyViT against every other method, image by image: how many points it is above, on each network and on the mean of all."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from qhyvit.evaluation.statistics import CONFIDENCE, holm
from qhyvit.reporting.comparison import bits_shown, decimals
from qhyvit.reporting.hits import decode
from qhyvit.reporting.results import FP32

METHOD = "qhyvit"
MEAN = "mean"
SETTING = ["dataset", "mode", "w_bits", "a_bits", "method"]
RUN = ["dataset", "model", "mode", "w_bits", "a_bits", "seed"]
COLUMNS = [*SETTING, "model", "runs", "images", "gain", "low", "high", "p"]
CAPTION = (
    f"Points by which the top-1 of {METHOD} is above that of another method on the same images, with the 95 % interval over images"
    " (Student's t); several seeds are averaged, and so are networks in the last column. An asterisk marks what is not chance: all cells of"
    " the table are one family of tests, of which any is marked wrongly with a chance of at most 5 % (Holm)."
)


def paired(hits: pd.DataFrame) -> pd.DataFrame:
    """A row for each mode, bit-width, other method and network of a `hits_table`, and one for the mean of all networks: COLUMNS.

    The ``gain`` and its interval are in points, over so many ``runs`` (networks and seeds); ``p`` is adjusted. Runs are paired with those
    of the same network and seed, whose images are the same.
    """
    others = hits[~hits.method.isin([FP32, METHOD])]
    pairs = others.merge(hits[hits.method == METHOD].drop(columns="method"), on=[*RUN, "images_hash"], suffixes=("", f"_{METHOD}"))
    pairs["difference"] = [
        decode(row[f"hits_{METHOD}"], row["images"]).astype(float) - decode(row["hits"], row["images"]) for row in pairs.to_dict("records")
    ]
    rows = [
        dict(zip(SETTING, setting, strict=True)) | {"model": model} | _tested(of_model.difference)
        for setting, of_setting in pairs.groupby(SETTING)
        for model, of_model in [*of_setting.groupby("model"), (MEAN, of_setting)]
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    tested = table.p.notna()  # equal hits on all images need no test
    table.loc[tested, "p"] = holm(table.p[tested].to_numpy(float))
    order = [True, False, False, False, True]
    return table.sort_values(SETTING, ascending=order, kind="stable", ignore_index=True)


def paired_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """What `paired` returns, for people: a column a network."""
    gain = decimals(rows.gain) + " [" + decimals(rows.low) + ", " + decimals(rows.high) + "]"
    cells = rows.assign(bits=bits_shown(rows), cell=gain + np.where(rows.p < 1 - CONFIDENCE, "*", ""))
    index = ["mode", "bits", "method"]
    wide = cells.pivot(index=index, columns="model", values="cell")
    wide = wide.reindex(pd.MultiIndex.from_frame(cells[index].drop_duplicates()))
    return wide[[*wide.columns.drop(MEAN), MEAN]].reset_index().rename_axis(columns=None)


def _tested(differences: "pd.Series[Any]") -> dict[str, float]:
    by_image = 100 * np.mean(np.stack(list(differences)), axis=0)
    found = {"runs": len(differences), "images": len(by_image), "gain": by_image.mean()}
    if not by_image.any():
        return found | {"low": 0.0, "high": 0.0}
    test = ttest_1samp(by_image, 0)
    low, high = test.confidence_interval(CONFIDENCE)
    return found | {"low": low, "high": high, "p": test.pvalue}
