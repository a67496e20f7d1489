"""What the methods cost in time, from the benchmark files of a run's jobs. It differs from run to run, so no result has it."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from qhyvit.reporting.published import CELL
from qhyvit.reporting.runs import FP32
from qhyvit.reporting.tables.comparison import bits_shown, decimals

NETWORK = ["model", "mode", "method"]
MEAN = "mean"
CAPTION = (
    "Seconds of each job by the clock, on one thread and beside whatever else ran on the machine; means over seeds. Calibration is shared"
    " by all methods and bit-widths; full mode includes what it takes over from partial mode; the total is of all bit-widths. A cell is"
    " blank where a job left no benchmark. The paper's means (Fig. 9) are seconds of calibration and search on an A100 of 80 GB, at"
    " bit-widths and over networks that are not known."
)


def timings(results: pd.DataFrame, benchmarks: Path) -> pd.DataFrame:
    """One row a quantized run of results.csv, averaged over seeds: `CELL`, and the seconds of its jobs ``calibrate`` and ``quantize``.

    ``benchmarks`` is the folder of the benchmark files of one data set; a job without one has NaN. Of their columns only `s` spans the
    whole job: CPU time is sampled every 30 seconds, and what comes after the last sample is lost.
    """
    runs = results[results.method != FP32]
    rows = [row | _seconds_of_run(row, benchmarks) for row in runs[[*CELL, "seed"]].to_dict("records")]
    table = pd.DataFrame(rows, columns=[*CELL, "seed", "calibrate", "quantize"])
    return table.groupby(CELL, as_index=False, sort=False)[["calibrate", "quantize"]].mean()


def running_time(rows: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """A row a network, mode and method of `timings`: seconds of calibration, of quantization by bit-width, and in total.

    Rows of the model "mean" follow, over networks, beside the ``published`` means of the same method.
    """
    calibrate = rows.groupby(NETWORK, sort=False).calibrate.first()
    bits = rows.assign(bits=bits_shown(rows)).sort_values(["w_bits", "a_bits"], ascending=False)
    quantize = bits.pivot(index=NETWORK, columns="bits", values="quantize")[list(bits.bits.unique())]
    seconds = quantize.assign(total=calibrate + quantize.sum(axis=1, skipna=False))
    seconds.insert(0, "calibrate", calibrate)
    means = seconds.groupby(["mode", "method"]).mean(skipna=False).reset_index().assign(model=MEAN)
    means["paper"] = means.method.map(published.set_index("method").value)
    return pd.concat([seconds.reset_index(), means], ignore_index=True).rename_axis(columns=None)


def running_time_shown(table: pd.DataFrame) -> pd.DataFrame:
    """What `running_time` returns, for people: two decimals, blank where a number is not known."""
    numbers = table.columns.drop(NETWORK)
    return table.assign(**{name: decimals(table[name]) for name in numbers}).rename(columns={"paper": "paper's mean"})


def _seconds_of_run(run: Mapping[Hashable, Any], benchmarks: Path) -> dict[str, float]:
    place, bits = f"{run['model']}-seed{run['seed']}", f"w{run['w_bits']}a{run['a_bits']}"
    modes = ["partial", "full"] if run["mode"] == "full" else ["partial"]  # full mode adds to the operands of partial mode
    quantize = [_seconds(benchmarks / f"quantize/{place}-{run['method']}-{mode}-{bits}.tsv") for mode in modes]
    return {"calibrate": _seconds(benchmarks / f"calibrate/{place}.tsv"), "quantize": sum(quantize)}


def _seconds(path: Path) -> float:
    return float(pd.read_csv(path, sep="\t").s.mean()) if path.exists() else float("nan")
