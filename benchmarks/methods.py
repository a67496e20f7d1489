"""What each method costs: calibrate and quantize, every method in a process of its own, beside NNCF and ONNX Runtime in the same run."""

import os

import pandas as pd
import typer
from rich.progress import track

from benchmarks.common import EXPERIMENT, IMAGES, MODEL, SIZE, fetch, measure, write_report
from qhyvit.config import load_config

YARDSTICKS = {"NNCF": "nncf", "ONNX Runtime": "onnxruntime"}


def main(size: int = SIZE, images: int = IMAGES, methods: int | None = None) -> None:
    """Write reports/benchmarks/methods.{csv,md}; ``methods`` takes but the first few."""
    if hasattr(os, "sched_setaffinity"):  # neither yardstick lets one choose the threads of its calibration
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    fetch()
    options = ["--size", str(size), "--images", str(images)]
    commands = {f"qhyvit: {name}": ["qhyvit", name] for name in load_config(EXPERIMENT).experiment.methods[:methods]}
    commands |= {name: [package] for name, package in YARDSTICKS.items()}
    imports = {package: measure("-c", f"import benchmarks.quantize_{package}") for package in ("qhyvit", *YARDSTICKS.values())}
    rows = []
    for name, (package, *arguments) in track(commands.items(), "measuring methods"):
        usage = measure("-m", f"benchmarks.quantize_{package}", *arguments, *options)
        rows.append((name, usage.cpu_seconds, imports[package].cpu_seconds, usage.peak_mib))
    table = pd.DataFrame(rows, columns=["method", "cpu_seconds", "import_seconds", "peak_mib"])
    for place, (name, package) in enumerate(YARDSTICKS.items(), start=1):
        reference = table.cpu_seconds[table.method == name].item()
        table.insert(place, f"ratio_to_{package}", table.cpu_seconds / reference)
    write_report("methods", table, _summary(table), _notes(size, images))


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": table.method,
            "CPU-seconds / NNCF's": table.ratio_to_nncf.map("{:.2f}".format),
            "/ ONNX Runtime's": table.ratio_to_onnxruntime.map("{:.2f}".format),
            "CPU-seconds": table.cpu_seconds.map("{:.1f}".format),
            "of which imports": table.import_seconds.map("{:.1f}".format),
            "peak MiB": table.peak_mib.map("{:.0f}".format),
        }
    )


def _notes(size: int, images: int) -> str:
    return (
        f"From {MODEL}'s weights and {images} images at {size} px to W8A8 quantizers (mode `partial`) or an int8 model, the start of Python"
        " and all imports included; these alone, in a process that does nothing else, are stated beside."
    )


if __name__ == "__main__":
    typer.run(main)
