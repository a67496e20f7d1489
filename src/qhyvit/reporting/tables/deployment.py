"""Exported models, run by their engines: accuracy, agreement with the simulation, size and share of int8 kernels."""

from typing import Any

import pandas as pd

from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import FP32, MethodCatalog
from qhyvit.reporting.runs import KEY, bits_shown, in_order, read_result, tabulate
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table, decimals, interval_shown

NOISE = ["noise_agreement", "noise_median_difference"]
MEASURES = ["agreement", "median_difference", "largest_difference", *NOISE, "site_difference", "int8_share", "size"]
MIB = 2**20


def make(sources: Sources) -> Table:
    """Make the table from the results of `qhyvit execute` and of the FP32 networks."""
    results = [read_result(path) for path in sources.all("deployed")]
    rows = deployment(results, sources.methods)
    return Table(rows, deployment_shown(rows), f"{processors(results)} {run_note(rows)}")


def deployment(results: list[dict[str, Any]], methods: MethodCatalog) -> pd.DataFrame:
    """Return one row per exported run of the ``results``, with the columns of results.csv, its ``engine`` and MEASURES.

    The agreement of other tools, which have no simulation here, is blank. Raises InputError if the FP32 result of a model is missing.
    """
    references = [result for result in results if result["method"] == FP32]
    exported = [result for result in results if result["method"] != FP32]
    tables = []
    for engine in sorted({result["engine"] for result in exported}):
        runs = [result for result in exported if result["engine"] == engine]
        accuracy = tabulate([*references, *runs], methods)
        measures = pd.DataFrame(runs, columns=[*KEY, "engine", *MEASURES])
        tables.append(accuracy.merge(measures, on=KEY, validate="one_to_one"))
    return in_order(pd.concat(tables), methods, [*KEY, "engine"])


def deployment_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `deployment` as text."""
    return pd.DataFrame(
        {
            "model": rows.model,
            "method": rows.method,
            "engine": rows.engine,
            "bits": bits_shown(rows),
            "seed": rows.seed.astype(str),
            "top-1": decimals(rows.top1),
            "drop": interval_shown(rows["drop"], rows.drop_low, rows.drop_high),
            "KL": rows.kl.map("{:.4f}".format),
            "agreement": decimals(rows.agreement),
            "difference, median": _scientific(rows.median_difference),
            "largest": _scientific(rows.largest_difference),
            "agreement of noise": decimals(rows.noise_agreement),
            "difference of noise": _scientific(rows.noise_median_difference),
            "largest of a site": _scientific(rows.site_difference),
            "int8": decimals(rows.int8_share),
            "MiB": decimals(rows["size"] / MIB),
        }
    )


def processors(results: list[dict[str, Any]]) -> str:
    """Return a note on the processors that ran the exported models."""
    names = sorted({result["provenance"]["processor"] for result in results if result["method"] != FP32})
    return f"Run on {', '.join(names)}."


def _scientific(values: "pd.Series[float]") -> "pd.Series[str]":
    return values.map(lambda value: "" if pd.isna(value) else f"{value:.1e}").astype(str)
