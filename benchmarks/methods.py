"""Cost of each method: calibrate and quantize, one process per method, and NNCF and ONNX Runtime in the same run."""

import os
from itertools import product
from statistics import median

import pandas as pd
import typer
from rich.progress import track

from benchmarks.common import EXPERIMENT, IMAGES, MODEL, SIZE, fetch, measure, write_report
from qhyvit.config.loading import load_config

YARDSTICKS = {"NNCF": "nncf", "ONNX Runtime": "onnxruntime"}
KINDS = {"all": "", "own": "own_"}  # columns of the summary, and of the table
DEPLOYABLE = "qhyvit-integer"  # next to the methods of EXPERIMENT
RUNS = 3


def main(size: int = SIZE, images: int = IMAGES, methods: int | None = None) -> None:
    """Write reports/benchmarks/methods.{csv,md}; ``methods`` takes only the first few."""
    if hasattr(os, "sched_setaffinity"):  # neither yardstick lets one choose the threads of its calibration
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    fetch()
    options = ["--size", str(size), "--images", str(images)]
    names = [*load_config(EXPERIMENT).experiment.methods[:methods], DEPLOYABLE]
    commands = {f"qhyvit: {name}": ("qhyvit", name) for name in names}
    commands |= {name: ("peer", peer) for name, peer in YARDSTICKS.items()}
    prepared: dict[str, float] = {}
    rows = []
    for name, (module, argument) in track(commands.items(), "measuring methods"):
        command = ["-m", f"benchmarks.quantize_{module}", argument, *options]
        tool = argument if module == "peer" else module
        if tool not in prepared:
            prepared[tool] = median(measure(*command, "--prepare-only").cpu_seconds for _ in range(RUNS))
        usages = [measure(*command) for _ in range(RUNS)]
        seconds = median(usage.cpu_seconds for usage in usages)
        rows.append((name, seconds, seconds - prepared[tool], median(usage.peak_mib for usage in usages)))
    table = pd.DataFrame(rows, columns=["method", "cpu_seconds", "own_cpu_seconds", "peak_mib"])
    for place, (kind, (name, package)) in enumerate(product(KINDS.values(), YARDSTICKS.items()), start=1):
        column = table[f"{kind}cpu_seconds"]
        table.insert(place, f"{kind}ratio_to_{package}", column / column[table.method == name].item())
    write_report("methods", table, _summary(table), _notes(size, images))


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    ratios = {
        f"{part} / {name}'s": table[f"{kind}ratio_to_{package}"] for part, kind in KINDS.items() for name, package in YARDSTICKS.items()
    }
    seconds = {f"{part}, CPU-seconds": table[f"{kind}cpu_seconds"] for part, kind in KINDS.items()}
    return pd.DataFrame(
        {"method": table.method}
        | {name: column.map("{:.2f}".format) for name, column in ratios.items()}
        | {name: column.map("{:.1f}".format) for name, column in seconds.items()}
        | {"peak MiB": table.peak_mib.map("{:.0f}".format)}
    )


def _notes(size: int, images: int) -> str:
    return (
        f"From {MODEL}'s weights and {images} images at {size} px to W8A8 quantizers (mode `partial`) or an int8 model. All of it is given,"
        " and what is its own. The latter leaves out what every tool does first: imports, loading, and tracing, conversion or export."
        f" Each is the median of {RUNS} processes, and so is what is left out, of processes that do nothing else."
    )


if __name__ == "__main__":
    typer.run(main)
