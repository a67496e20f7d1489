"""Tables for people: accuracy by method and bit-width, as CSV and Markdown."""

import pandas as pd

from qhyvit.reporting.runs import FP32


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """A row for each model, mode and method, a column for each bit-width: top-1 in percent and the drop with its 95 % interval.

    Several seeds are averaged, and so are the ends of their intervals.
    """
    quantized = results[results.method != FP32]
    keys = ["model", "mode", "method", "w_bits", "a_bits"]
    means = quantized.groupby(keys, as_index=False)[["top1", "drop", "drop_low", "drop_high"]].mean()
    means["bits"] = [f"W{w_bits}A{a_bits}" for w_bits, a_bits in zip(means.w_bits, means.a_bits, strict=True)]
    means["cell"] = [
        f"{row.top1:.2f} (drop {row.drop:.2f} [{row.drop_low:.2f}, {row.drop_high:.2f}])" for row in means.itertuples(index=False)
    ]
    widest_first = means.sort_values(["w_bits", "a_bits"], ascending=False).bits.unique()
    table = means.pivot(index=["model", "mode", "method"], columns="bits", values="cell")[widest_first].reset_index()
    fp32 = results[results.method == FP32].set_index("model").top1
    table.insert(1, "FP32", [f"{fp32[model]:.2f}" for model in table.model])
    return table.rename_axis(columns=None)


def to_markdown(table: pd.DataFrame) -> str:
    """The table in GitHub's Markdown."""
    return table.to_markdown(index=False, disable_numparse=True) + "\n"
