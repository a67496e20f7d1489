"""Common parts of all benchmarks: the network, the images, how a command is measured, and how a table is written."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import IO

import pandas as pd

from qhyvit.commit import git_commit
from qhyvit.config.loading import Config, load_config
from qhyvit.files import atomic_write
from qhyvit.processor import processor
from qhyvit.reporting.write import to_markdown
from workflow.scripts.allocator import KEEP_FREED_MEMORY

EXPERIMENT = Path("config/experiments/all-methods.yaml")
TARGET = Path("config/experiments/imagenet.yaml")
MODEL = "mobilevit_xxs"
SEED = 0
SIZE = 256  # side in pixels: the network's own input size
IMAGES = 32
WORK = Path("results/benchmarks")
REPORTS = Path("reports/benchmarks")
SOURCE = Path("src/qhyvit")
PACKAGES = ("torch", "nncf", "openvino", "onnxruntime")
MANIFEST = WORK / "images.csv"
ENVIRONMENT = KEEP_FREED_MEMORY | {"OMP_NUM_THREADS": "1"}  # as in the workflow's jobs


@dataclass(frozen=True)
class Usage:
    """Time, CPU time (user and system, all threads) and peak memory of a process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def load_experiment(size: int | None, images: int) -> Config:
    """Read the embedded experiment with another number of images, of another size; None is the network's own."""
    config = load_config(EXPERIMENT)
    experiment = config.experiment
    changed = {
        "dataset": experiment.dataset.model_copy(update={"input_size": size}),
        "calibration": experiment.calibration.model_copy(update={"images": images}),
    }
    return config.model_copy(update={"experiment": experiment.model_copy(update=changed)})


def fetch(*models: str, config: Path = EXPERIMENT, folder: Path = WORK) -> None:
    """Get and check the images and the weights of ``models``, or of MODEL, as the workflow does; receipts go to ``folder``."""
    qhyvit = [sys.executable, "-m", "qhyvit", "fetch"]
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([*qhyvit, "images", "--config", str(config), "--output", str(folder / MANIFEST.name)], check=True)
    for model in models or (MODEL,):
        receipt = folder / f"{model}-weights.json"
        subprocess.run([*qhyvit, "weights", "--config", str(config), "--model", model, "--output", str(receipt)], check=True)


def kept(name: str, suffix: str = "") -> Path:
    """Return the path of what a benchmark keeps to resume after an interruption: another one when the code of the package has changed."""
    digest = sha256()
    for path in sorted(path for path in SOURCE.rglob("*") if path.suffix in (".py", ".yaml")):
        digest.update(f"{path} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return WORK / f"{name}-{digest.hexdigest()[:8]}{suffix}"


def measure(*arguments: str, stdout: IO[str] | None = None) -> Usage:
    """Run Python with ``arguments`` to its end, its output here or to ``stdout``. Raises RuntimeError when it fails.

    The process must be larger than this one: on Linux its peak begins with the memory of the process that starts it.
    """
    start = perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], env=os.environ | ENVIRONMENT, stdout=stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: python {' '.join(arguments)}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    return Usage(perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def restart_as_jobs_start(benchmark: str) -> None:
    """Start this process again with the environment of the workflow's jobs, unless it has it: only a new process takes it."""
    if not os.environ.keys() >= ENVIRONMENT.keys():
        os.execve(sys.executable, [sys.executable, "-m", f"benchmarks.{benchmark}", *sys.argv[1:]], os.environ | ENVIRONMENT)


def reports_of(experiments: Iterable[Path]) -> list[Path]:
    """Return the folders of the reports of experiments. Exits with one line for each experiment that has none."""
    reports = {path: load_config(path).experiment.reports for path in experiments}
    if missing := [path for path, report in reports.items() if not (report / "correct.csv").exists()]:
        sys.exit("\n".join(f"no report of {path}: run `make reproduce CONFIG={path}`" for path in missing))
    return list(reports.values())


def write_report(
    name: str, table: pd.DataFrame, summary: pd.DataFrame, notes: str, packages: Sequence[str] = PACKAGES, threads: str = "one thread"
) -> None:
    """Write ``table`` as CSV, and ``summary``, whose cells are text, as Markdown with the ``notes`` and the machine below it."""
    write_tables(name, table, summary, f"{notes}\n\n{describe_machine(packages, threads)}")


def write_tables(name: str, table: pd.DataFrame, summary: pd.DataFrame, notes: str) -> None:
    """Write ``table`` as CSV, and ``summary``, whose cells are text, as Markdown with the ``notes`` below it."""
    with atomic_write(REPORTS / f"{name}.csv") as path:
        table.to_csv(path, index=False, float_format="%.6g")
    with atomic_write(REPORTS / f"{name}.md") as path:
        path.write_text(f"{to_markdown(summary)}\n{notes}\n")


def describe_machine(packages: Sequence[str], threads: str = "one thread") -> str:
    """Describe the processor, the threads, the package versions and the commit."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{processor()}, {threads}; Python {platform.python_version()}, {versions}; commit {git_commit()[:8]}."
