"""Kill runs at random and complete them. `python tests/slurm/kill_and_resume.py` does it often and prints a log.

A run is killed by SIGKILL to Snakemake's main process alone, so that its jobs live on as orphans, and completed by what `make resume` runs.
It is that of the tests' tiny project, up to its results, with one method.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.extend(str(folder) for folder in Path(__file__).parents[1:3])  # tests, and the repository

from conftest import Project, make_project

RESULTS = ("reports/results.csv", "reports/correct.csv", "reports/metrics.json")
ON_SLURM = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")


def new_project(folder: Path) -> Project:
    """The tiny project with one method."""
    project = make_project(folder)
    project.configure(methods=["minmax"])
    return project


def made(project: Project) -> int:
    """Count the files that a run has made so far."""
    return sum(1 for folder in ("results", "logs") for path in (project.root / folder).rglob("*.*") if path.is_file())


def kill(project: Project, files: int, seconds: float, *arguments: str) -> bool:
    """Start a run, and kill it so many seconds after it has made so many files. False if it ended before."""
    with project.start("reports/results.csv", *arguments) as run:
        while run.poll() is None and made(project) < files:
            time.sleep(0.1)
        time.sleep(seconds)
        killed = run.poll() is None
        run.kill()
    return killed


def complete(project: Project, *arguments: str) -> list[bytes]:
    """Run to the end, and return the results."""
    project.snakemake("reports/results.csv", *arguments)
    return project.bytes_of(*RESULTS)


def repeat(folder: Path, reference: Project, count: int, generator: random.Random, *arguments: str) -> None:
    """Kill and complete ``count`` runs, each in a new project. Exits at the first that ends with other bytes than ``reference``."""
    number = 0
    while number < count:
        project = new_project(folder / f"{number + 1}-{generator.random():.6f}")
        files, seconds = generator.randrange(made(reference)), generator.uniform(0, 5)
        if not kill(project, files, seconds, *arguments):
            continue
        number += 1
        found = made(project)
        start = time.monotonic()
        same = complete(project, *arguments) == reference.bytes_of(*RESULTS)
        took = time.monotonic() - start
        print(f"{folder.name} {number}: killed with {found} files made, completed in {took:.0f} s, same bytes: {same}", flush=True)
        if not same:
            sys.exit(1)


def main() -> None:
    """Do so locally, and over a Slurm that is started for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=int, default=10, help="how many runs on this machine")
    parser.add_argument("--slurm", type=int, default=3, help="how many runs on Slurm")
    parser.add_argument("--seed", type=int, default=0, help="draws when they are killed")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        reference = new_project(Path(folder) / "reference")
        complete(reference)
        print(f"a whole run makes {made(reference)} files", flush=True)
        repeat(Path(folder) / "local", reference, options.local, generator)
        if options.slurm:
            from cluster import Cluster

            with Cluster():
                repeat(Path(folder) / "slurm", reference, options.slurm, generator, *ON_SLURM)


if __name__ == "__main__":
    main()
