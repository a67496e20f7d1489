"""Changes from one results.csv to another, and which of them are more than chance.

A run in both is compared image by image if the correct images of both are known on the same images: McNemar's exact test, and the
paired-bootstrap interval. Otherwise the intervals of the two accuracies are compared. All runs that changed are one family of tests: the
probability that any of them is wrongly called worse or better is at most 5 % (Holm). Runs with the same correct images are not tested.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from qhyvit.evaluation.statistics import CONFIDENCE, Estimate, difference, drop_interval, holm, mcnemar, wilson_interval
from qhyvit.reporting.catalog import FP32
from qhyvit.reporting.correctness import decode
from qhyvit.reporting.runs import KEY

VALUES = ["images", "top1", "top1_fp32", "drop", "drop_low", "drop_high", "kl"]
COLUMNS = [*KEY, "old", "new", "change", "low", "high", "p", "by", "verdict"]
VERDICTS = ["worse", "better", "not significant", "new", "gone"]
DIGITS = 1e-5  # results.csv rounds to six significant digits


def with_correct(results: pd.DataFrame, correct: pd.DataFrame | None) -> pd.DataFrame:
    """Add the columns images_hash and correct to ``results``: None for runs that ``correct`` lacks, or has with another top-1."""
    if correct is None:
        return results.assign(images_hash=None, correct=None)
    joined = results.merge(correct, on=[*KEY, "images"], how="left", validate="one_to_one")
    known = [_top1(row) for row in joined[["correct", "images"]].itertuples(index=False)]
    fits = np.isclose(known, joined.top1, rtol=DIGITS)
    return joined.assign(**{name: joined[name].astype(object).where(fits, None) for name in ("images_hash", "correct")})


def changes(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return COLUMNS for each run that differs between two tables of `with_correct`, the worst verdict first.

    Accuracies are in percent, the change and its 95 % interval (``low``, ``high``) in points. ``p`` is adjusted; change, interval and p are
    NaN for runs in only one table, and p where the same images are correct. ``by`` says what was compared: each image, or the interval of
    each accuracy.
    """
    both = old.merge(new, on=KEY, how="outer", suffixes=("_old", "_new"), indicator="where")
    rows = [_compared(row) for row in both[~_equal(both)].to_dict("records")]
    table = pd.DataFrame(rows, columns=COLUMNS)
    tested = table.p.notna()
    table.loc[tested, "p"] = holm(table.p[tested].to_numpy(float))
    significant = tested & (table.p < 1 - CONFIDENCE)
    table.loc[significant, "verdict"] = np.where(table.change[significant] < 0, "worse", "better")
    return table.sort_values(["verdict", "change"], key=_rank, kind="stable", ignore_index=True)


def _top1(row: Any) -> float:
    return 100 * float(decode(row.correct, row.images).mean()) if isinstance(row.correct, str) else np.nan


def _equal(both: pd.DataFrame) -> "pd.Series[bool]":
    """Return which runs have equal values in both tables, and equal correct images where both have them."""
    equal = both["where"] == "both"
    for name in VALUES:
        before, after = both[f"{name}_old"], both[f"{name}_new"]
        equal &= (before == after) | (before.isna() & after.isna())
    return equal & ((both.correct_old == both.correct_new) | both.correct_old.isna() | both.correct_new.isna())


def _compared(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return COLUMNS of one run, with the p-value of its own test alone."""
    run = {name: row[name] for name in KEY} | {"old": row["top1_old"], "new": row["top1_new"]}
    if row["where"] != "both":
        return run | {"by": "", "verdict": "gone" if row["where"] == "left_only" else "new"}
    paired = isinstance(row["correct_old"], str) and row["images_hash_old"] == row["images_hash_new"]
    low, high, p = _by_image(row) if paired else _by_interval(row)
    tested = {"change": row["top1_new"] - row["top1_old"], "low": low, "high": high, "p": p}
    return run | tested | {"by": "image" if paired else "interval", "verdict": "not significant"}


def _by_image(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    old, new = (decode(row[f"correct_{side}"], int(row[f"images_{side}"])) for side in ("old", "new"))
    low, high = drop_interval(new, old)
    return low, high, mcnemar(old, new) if (old != new).any() else np.nan


def _by_interval(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    """Compare the intervals of the drops if the FP32 network has the same accuracy in both, else Wilson's intervals."""
    by_drop = row["method"] != FP32 and row["top1_fp32_old"] == row["top1_fp32_new"]
    return difference(_estimate(row, "old", by_drop=by_drop), _estimate(row, "new", by_drop=by_drop))


def _estimate(row: Mapping[Any, Any], side: Literal["old", "new"], *, by_drop: bool) -> Estimate:
    top1, images = row[f"top1_{side}"], int(row[f"images_{side}"])
    if by_drop:
        drop = row[f"drop_{side}"]
        return Estimate(top1, top1 + drop - row[f"drop_high_{side}"], top1 + drop - row[f"drop_low_{side}"])
    return Estimate(top1, *wilson_interval(round(top1 * images / 100), images))


def _rank(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.map(VERDICTS.index) if column.name == "verdict" else column
