"""Seconds and memory of search, correction and tuning on the embedded networks. A run that was killed resumes."""

from itertools import product
from pathlib import Path

import pandas as pd
import typer
from rich.progress import track
from scipy.stats import gmean

from benchmarks.common import MANIFEST, SEED, WORK, fetch, kept, measure, write_report
from benchmarks.networks import PUBLISHED, costs_shown
from qhyvit.config.loading import load_config
from qhyvit.files import atomic_write
from qhyvit.reporting.published import read_means

TUNING = Path("config/experiments/tuning.yaml")
METHODS = ["qhyvit", "qhyvit-corrected", "qhyvit-tuned"]
FOLDER = WORK / "tuning"
THREADS = 2
COSTS = ["seconds", "cpu_seconds", "peak_mib"]


def main(bits: str = "w4a4") -> None:
    """Write reports/benchmarks/tuning.{csv,md}."""
    config = load_config(TUNING)
    models, tuning = config.experiment.models, config.methods[METHODS[-1]].tuning
    assert tuning
    fetch(*models, config=TUNING, folder=FOLDER)
    finished = kept(f"tuning-{bits}", ".csv")
    rows = pd.read_csv(finished).to_dict("records") if finished.exists() else []
    done = {(row["model"], row["method"]) for row in rows}
    for model, method in track([*product(models, METHODS)], "quantizing networks"):
        if (model, method) not in done:
            rows.append({"model": model, "method": method} | dict(zip(COSTS, costs(model, method, bits), strict=True)))
            with atomic_write(finished) as path:
                pd.DataFrame(rows).to_csv(path, index=False)
    table = pd.DataFrame(rows)
    means = table.groupby("method", sort=False)[COSTS].agg(gmean).reset_index().assign(model="geometric mean")
    table = pd.concat([table, means], ignore_index=True)
    paper = read_means(PUBLISHED).set_index("method").value["qhyvit"]
    notes = (
        f"From calibration images and weights to a file of quantizers at {bits.upper()}, mode `partial`, at 128 px. Processes are measured"
        f" from their start to their end. The search sees {config.experiment.calibration.images} images; tuning takes {tuning.steps}"
        f" steps on {tuning.images}. The paper's mean over its networks is {paper:.0f} seconds (Fig. 9, search alone, on an A100)."
    )
    write_report(
        "tuning", table, pd.concat([table[["model", "method"]], costs_shown(table)], axis=1), notes, ["torch"], f"{THREADS} threads"
    )
    finished.unlink()


def costs(model: str, method: str, bits: str) -> tuple[float, float, float]:
    """Return seconds, CPU-seconds and the peak of memory of the calibration of a network and the quantization by a method."""
    common = ["--config", str(TUNING), "--model", model, "--images", str(FOLDER / MANIFEST.name), "--threads", str(THREADS)]
    calibration, output = FOLDER / "calibration.safetensors", FOLDER / "quantized.safetensors"
    output.with_name(f".{output.name}.tuning").unlink(missing_ok=True)  # a tuning that continues from its checkpoint takes less time
    calibrate = measure("-m", "qhyvit", "calibrate", *common, "--seed", str(SEED), "--output", str(calibration))
    options = {"method": method, "mode": "partial", "bits": bits, "calibration": calibration, "errors": FOLDER / "errors.csv"}
    run = [f"--{name}={value}" for name, value in options.items()]
    quantize = measure("-m", "qhyvit", "quantize", *common, *run, "--output", str(output))
    return (
        calibrate.seconds + quantize.seconds,
        calibrate.cpu_seconds + quantize.cpu_seconds,
        max(calibrate.peak_mib, quantize.peak_mib),
    )


if __name__ == "__main__":
    typer.run(main)
