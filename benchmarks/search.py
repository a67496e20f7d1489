"""Comparison of the fast search with the naive one, on all sites of a network: time, error and memory.

A run that was killed resumes; a finished run leaves only its reports.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from benchmarks.common import IMAGES, MODEL, SIZE, fetch, measure, write_report
from benchmarks.site_search import METHOD, folder
from qhyvit.files import atomic_write

BITS = ["w8a8", "w6a6"]


def main(size: int = SIZE, images: int = IMAGES, sites: int | None = None) -> None:
    """Write reports/benchmarks/search.{csv,md}; ``sites`` takes only the first few of the network."""
    fetch()
    options = ["--size", str(size), "--images", str(images), *([] if sites is None else ["--sites", str(sites)])]
    works = {bits: folder(bits, size, images, sites) for bits in BITS}
    for bits, work in works.items():
        if not (work / "peak.json").exists():
            usage = measure("-m", "benchmarks.search_fast", bits, *options)
            with atomic_write(work / "peak.json") as path:
                path.write_text(json.dumps(usage.peak_mib))
    for bits in BITS:
        measure("-m", "benchmarks.search_naive", bits, *options)
    tables = {bits: _by_site(work) for bits, work in works.items()}
    summary = pd.DataFrame([_totals(bits, tables[bits], work) for bits, work in works.items()])
    write_report("search", pd.concat(tables, names=["bits"]).reset_index(level=0), summary, _notes(size, images), ["torch"])
    for work in works.values():
        shutil.rmtree(work)


def _by_site(work: Path) -> pd.DataFrame:
    """Return one row per site, ratios first; where neither search leaves an error, the ratio is 1."""
    table = pd.read_csv(work / "naive.csv")
    exact = (table.fast_error == 0) & (table.naive_error == 0)
    table.insert(2, "speedup", table.naive_seconds / table.fast_seconds)
    table.insert(3, "error_ratio", (table.fast_error / table.naive_error).mask(exact, 1.0))
    return table


def _totals(bits: str, table: pd.DataFrame, work: Path) -> dict[str, str]:
    fast, naive = table.fast_seconds.sum(), table.naive_seconds.sum()
    worst = table.nlargest(1, "error_ratio")
    capture = json.loads((work / "fast.json").read_text())["capture"]
    return {
        "bits": bits.upper(),
        "naive / fast with its capture, CPU-seconds": f"{naive / (fast + capture):.0f}",
        "naive / fast, search alone": f"{naive / fast:.0f}",
        "error, fast / naive: geometric mean": f"{np.exp(np.log(table.error_ratio).mean()):.4f}",
        "worst site": f"{worst.error_ratio.item():.4f} ({worst.site.item()})",
        "sites": str(len(table)),
        "naive, CPU-seconds": f"{naive:.1f}",
        "fast": f"{fast:.2f}",
        "capture": f"{capture:.1f}",
        "peak MiB, fast": f"{json.loads((work / 'peak.json').read_text()):.0f}",
    }


def _notes(size: int, images: int) -> str:
    return (
        f"The search of `{METHOD}` on {MODEL} with {images} images at {size} px. Errors are Fisher-weighted and over all positions of all"
        " images, whichever search chose the scales; the fast one saw a sample of them. The capture of operands and gradients comes before"
        " either search; the first ratio counts it for the fast one only. The peak is that of the process"
        " that captures and searches fast."
    )


if __name__ == "__main__":
    typer.run(main)
