"""Networks of timm with random weights, quantized and run: logits that are finite, or one line that says why not.

Resumable: reports/benchmarks/timm_quantize.csv has a row per name and method that is done, and only others are run.
"""

import logging
import warnings
from time import monotonic, process_time
from typing import Any

import pandas as pd
import torch
import typer
from rich.progress import track
from torch import Tensor, nn

import qhyvit
from benchmarks.common import REPORTS, write_report
from benchmarks.limited import run_limited
from benchmarks.timm_plan import planned
from benchmarks.timm_sweep import left_out
from qhyvit.config.base import Mode
from qhyvit.config.models import Model
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.zoo import build, input_shape

TABLE = REPORTS / "timm_quantize.csv"
QUANTIZATIONS: dict[str, tuple[Mode, str]] = {"percentile": ("full", "w8a8"), "qhyvit": ("partial", "w6a6")}
COLUMNS = ["model", "family", "method", "mode", "bits", "outcome", "reason", "size", "seconds"]
CLASSES, IMAGES = 10, 2
SIDES = (64, 128)  # in pixels, tried before the network's own
SECONDS, GIB = 600, 12


def main(minutes: float = float("inf"), count: int = 200) -> None:
    """Write reports/benchmarks/timm_quantize.{csv,md} for ``count`` architectures; begin no network after so many ``minutes``."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    end = monotonic() + 60 * minutes
    first = planned().query("first").to_dict("records")
    plan = [row for row in first if left_out(row["size"], row["parameters"]) is None][:count]
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=COLUMNS)
    done = {*zip(table.model, table.method, strict=True)}
    waiting = [(row, method) for row in plan for method in QUANTIZATIONS if (row["model"], method) not in done]
    for row, method in track(waiting, "quantizing timm"):
        if monotonic() > end:
            break
        mode, bits = QUANTIZATIONS[method]
        run = {"model": row["model"], "family": row["family"], "method": method, "mode": mode, "bits": bits}
        found = run | outcome(row["model"], method)
        table = pd.concat([table, pd.DataFrame([found], columns=COLUMNS)], ignore_index=True)
        with atomic_write(TABLE) as path:
            table.to_csv(path, index=False)
    write_report("timm_quantize", table, summary(table), _notes(table), ["torch", "timm"])


def outcome(name: str, method: str) -> dict[str, Any]:
    """Return what quantizing a network ended in, in a process of its own."""
    found = run_limited(quantized, name, method, seconds=SECONDS, gib=GIB)
    if isinstance(found, InputError):
        return {"outcome": "refused", "reason": str(found)}
    if isinstance(found, Exception):
        return {"outcome": "failed", "reason": f"{type(found).__name__}: {found}".splitlines()[0]}
    return found


def quantized(name: str, method: str) -> dict[str, Any]:
    """Quantize a network with random weights, on few random images of a small size that it takes, and run it on these."""
    torch.manual_seed(0)
    network, images = _with_images(name)
    mode, bits = QUANTIZATIONS[method]
    logits = qhyvit.quantize(network, images, method=method, mode=mode, bits=bits)(images)
    finite = "finite" if bool(logits.isfinite().all()) else "not finite"
    return {"outcome": finite, "size": images.shape[-1], "seconds": round(process_time(), 1)}


def _with_images(name: str) -> tuple[nn.Module, Tensor]:
    for side in SIDES:
        try:
            network = build(Model(family="", constructor=name), CLASSES, side).eval()
            images = torch.randn(IMAGES, input_shape(network)[0], side, side)
            with torch.no_grad():
                network(images)
        except Exception:  # of any kind: the network takes no images of this size
            continue
        return network, images
    network = build(Model(family="", constructor=name), CLASSES).eval()
    return network, torch.randn(IMAGES, *input_shape(network))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method: numbers of networks by outcome."""
    outcomes = ("finite", "not finite", "refused", "failed")
    rows = [
        {"method": method, "mode": mode, "bits": bits.upper()}
        | {"networks": str(sum(table.method == method))}
        | {outcome: str(sum((table.method == method) & (table.outcome == outcome))) for outcome in outcomes}
        for method, (mode, bits) in QUANTIZATIONS.items()
    ]
    return pd.DataFrame(rows)


def _notes(table: pd.DataFrame) -> str:
    return (
        f"The smallest networks of {table.model.nunique()} architectures and {table.family.nunique()} families of timm, with random"
        f" weights. Each is calibrated and run on {IMAGES} random images, of {SIDES[0]} or {SIDES[1]} pixels where it takes them."
        " Outcomes are those of the logits of the quantized network."
    )


if __name__ == "__main__":
    typer.run(main)
