"""Seconds and memory of `qhyvit` on all networks of the paper. A run that was killed resumes; a finished run leaves only its reports."""

from pathlib import Path

import pandas as pd
import typer
from rich.progress import track
from scipy.stats import gmean

from benchmarks.common import IMAGES, TARGET, fetch, kept, measure, write_report
from qhyvit.config.loading import load_config
from qhyvit.files import atomic_write
from qhyvit.reporting.published import read_means

PUBLISHED = Path("resources/published/fig_9.csv")
THREADS = 2


def main(images: int = IMAGES, networks: int | None = None) -> None:
    """Write reports/benchmarks/networks.{csv,md}; ``networks`` takes only the first few."""
    fetch()
    config = load_config(TARGET, allow_unset_env=True)
    models, finished = config.experiment.models[:networks], kept(f"networks-{images}", ".csv")
    rows = pd.read_csv(finished).to_dict("records") if finished.exists() else []
    for model in track(models, "quantizing networks"):
        if model not in {row["model"] for row in rows}:
            usage = measure("-m", "benchmarks.quantize_network", model, "--images", str(images), "--threads", str(THREADS))
            rows.append({"model": model, "seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds, "peak_mib": usage.peak_mib})
            with atomic_write(finished) as path:
                pd.DataFrame(rows).to_csv(path, index=False)
    paper = read_means(PUBLISHED).set_index("method").value["qhyvit"]
    table = pd.DataFrame([row for row in rows if row["model"] in models])
    columns = ["seconds", "cpu_seconds", "peak_mib"]
    means = [{"model": name} | table[columns].agg(mean).to_dict() for name, mean in {"mean": "mean", "geometric mean": gmean}.items()]
    table = pd.concat([table, pd.DataFrame(means)], ignore_index=True)
    write_report(
        "networks",
        table,
        pd.concat([table.model.rename("network"), costs_shown(table)], axis=1),
        _notes(images, paper),
        ["torch"],
        f"{THREADS} threads",
    )
    finished.unlink()


def costs_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return seconds, CPU-seconds and MiB as text."""
    return pd.DataFrame(
        {
            "seconds": table.seconds.map("{:.1f}".format),
            "CPU-seconds": table.cpu_seconds.map("{:.1f}".format),
            "peak MiB": table.peak_mib.map("{:.0f}".format),
        }
    )


def _notes(images: int, paper: float) -> str:
    return (
        f"Calibration and quantization by `qhyvit` to W8A8, mode `partial`, with {images} images and random weights, at each network's"
        " own input size. Processes are measured from their start to their end."
        f" The paper's mean over its networks is {paper:.0f} seconds (Fig. 9, on an A100)."
    )


if __name__ == "__main__":
    typer.run(main)
