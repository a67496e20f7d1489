"""Agreement of a run with the committed results of the same experiment."""

import pandas as pd

from qhyvit.reporting.catalog import FP32
from qhyvit.reporting.diff import changes
from qhyvit.reporting.runs import KEY

OUTCOMES = ["equal", "within chance", "beyond chance", "new", "missing"]
OUTCOME_OF = {
    "not significant": "within chance",
    "worse": "beyond chance",
    "better": "beyond chance",
    "new": "new",
    "gone": "missing",
}


def agreement(committed: pd.DataFrame, present: pd.DataFrame) -> pd.DataFrame:
    """Return the number of quantized runs of each of OUTCOMES, one row per network, with their ``total``.

    Both are tables of `qhyvit.reporting.diff.with_correct`. Runs that differ are tested as there.
    """
    old, new = (runs[runs.method != FP32] for runs in (committed, present))
    changed = changes(old, new)
    outcomes = changed.assign(outcome=changed.verdict.map(OUTCOME_OF)).pivot_table(
        index="model", columns="outcome", values="method", aggfunc="count", fill_value=0
    )
    total = pd.concat([old, new]).drop_duplicates(KEY).model.value_counts()
    table = outcomes.reindex(index=sorted(total.index), columns=OUTCOMES[1:], fill_value=0)
    table.insert(0, "equal", total - table.sum(axis=1))
    return table.assign(total=total).astype(int).rename_axis(index=None, columns=None)
