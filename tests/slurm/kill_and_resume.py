"""Kill runs at random and complete them. `python tests/slurm/kill_and_resume.py` does it often and prints a log.

SIGKILL goes either to Snakemake's main process alone, so that its jobs live on as orphans, or to any one process of the run: the fork
server, that of a network, a fork, a client or a shell. The run then continues or fails. It is completed by what `make resume` runs.
It is that of the tests' tiny project, up to its results, with one method.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.extend(str(folder) for folder in Path(__file__).parents[1:3])  # tests, and the repository

from conftest import Project, make_project

RESULTS = ("reports/results.csv", "reports/correct.csv", "reports/metrics.json")
ON_SLURM = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
KINDS = {"pipefail": "shell", "/qhyvit": "client"}  # by a word of the command line
OF_JOBS = ("shell", "client", "server", "network", "fork")
FAILED = "run failed"
LONGEST = 600  # seconds of a run that continues

Process = subprocess.Popen[bytes]


def new_project(folder: Path) -> Project:
    """The tiny project with one method."""
    project = make_project(folder)
    project.configure(methods=["minmax"])
    return project


def made(project: Project) -> int:
    """Count the files that a run has made so far."""
    return sum(1 for folder in ("results", "logs") for path in (project.root / folder).rglob("*.*") if path.is_file())


def processes(project: Project) -> list[int]:
    """List the processes of a run, which are all in the folder of the project."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (process / "cwd").readlink() == project.root:
                found.append(int(process.name))
    return found


def kind(process: int) -> str:
    """Name what a process of a run does."""
    folder = Path("/proc", str(process))
    command = (folder / "cmdline").read_text()
    if "fork_server" in command:
        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        return {"server": "network", "network": "fork"}.get(kind(parent), "server")
    return next((name for word, name in KINDS.items() if word in command), "other")


def kill(run: Process, project: Project, files: int, seconds: float, choose: Callable[[list[int]], int] | None = None) -> str:
    """Kill a process of a run, so many seconds after it has made so many files, and name it.

    It is one of a job that ``choose`` chooses, without it the main one. The name is empty if the run has ended before.
    """
    while run.poll() is None and made(project) < files:
        time.sleep(0.1)
    with suppress(subprocess.TimeoutExpired):
        run.wait(seconds)
    while run.poll() is None:
        with suppress(OSError):  # what is chosen may have ended
            if choose is None:
                run.kill()
                return "main"
            if of_jobs := [process for process in processes(project) if kind(process) in OF_JOBS]:
                victim = choose(of_jobs)
                name = kind(victim)
                os.kill(victim, signal.SIGKILL)
                return name
        time.sleep(0.02)
    return ""


def kill_often(project: Project, kills: int, most: int, generator: random.Random, *arguments: str) -> list[str]:
    """Kill a run so often, or less if it completes, each time with up to ``most`` files made, and start it again whenever it has ended.

    Half of the kills are of the main process. Returns what was killed, and FAILED for each run that ended for that, in order.
    """
    events: list[str] = []
    while len(events) - events.count(FAILED) < kills:
        run = project.start("reports/results.csv", *arguments)
        while len(events) - events.count(FAILED) < kills:
            files, seconds = generator.randint(min(made(project), most), most), generator.uniform(0, 5)
            killed = kill(run, project, files, seconds, generator.choice if generator.random() < 0.5 else None)
            if not killed:
                break
            events.append(killed)
        code = run.wait(LONGEST)
        if code == 0:
            break
        events += [FAILED] if code > 0 else []
    return events


def complete(project: Project, *arguments: str) -> list[bytes]:
    """Run to the end, and return the results."""
    project.snakemake("reports/results.csv", *arguments)
    return project.bytes_of(*RESULTS)


def repeat(folder: Path, reference: Project, count: int, kills: int, generator: random.Random, *arguments: str) -> None:
    """Kill and complete ``count`` runs, each in a new project. Exits at the first that ends with other bytes than ``reference``."""
    number = 0
    while number < count:
        project = new_project(folder / f"{number + 1}-{generator.random():.6f}")
        events = kill_often(project, kills, made(reference) - 1, generator, *arguments)
        if not events:
            continue
        number += 1
        found = made(project)
        start = time.monotonic()
        same = complete(project, *arguments) == reference.bytes_of(*RESULTS)
        took = time.monotonic() - start
        print(f"{folder.name} {number}: {', '.join(events)}; {found} files made, completed in {took:.0f} s, same bytes: {same}", flush=True)
        if not same:
            sys.exit(1)


def main() -> None:
    """Do so locally, and over a Slurm that is started for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=int, default=10, help="how many runs on this machine")
    parser.add_argument("--slurm", type=int, default=3, help="how many runs on Slurm")
    parser.add_argument("--kills", type=int, default=1, help="how often each run is killed")
    parser.add_argument("--seed", type=int, default=0, help="draws when they are killed")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        reference = new_project(Path(folder) / "reference")
        complete(reference)
        print(f"a whole run makes {made(reference)} files", flush=True)
        repeat(Path(folder) / "local", reference, options.local, options.kills, generator)
        if options.slurm:
            from cluster import Cluster

            with Cluster():
                repeat(Path(folder) / "slurm", reference, options.slurm, options.kills, generator, *ON_SLURM)


if __name__ == "__main__":
    main()
