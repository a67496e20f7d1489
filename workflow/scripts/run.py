"""Run Snakemake in the current directory as its only run, after removing what a killed run has left.

The operating system drops the lock of a process that ends, in whatever way. So the holder of our lock knows two things. Snakemake's own
lock, which survives its owner, is stale; and jobs of this directory that are still in Slurm's queue are orphans, which would write to the
same files as those of the new run.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from qhyvit.config.loading import load_config
from qhyvit.errors import InputError

LOCK = Path(".snakemake/run.lock")
SLURM_LOGS = Path("logs/slurm")  # as profiles/slurm has it, which names the jobs too
SLURM_JOB = re.compile(r"qhyvit_[0-9a-f-]{36}")


def main() -> None:
    """Take the lock, unlock Snakemake, and replace this process by Snakemake with the given arguments."""
    for path in configuration_files(sys.argv[1:]):
        check_configuration(path)
    LOCK.parent.mkdir(exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another run is active in {Path.cwd()}: wait for it, or stop it first")
    os.set_inheritable(descriptor, True)
    if SLURM_LOGS.exists() and shutil.which("squeue"):
        cancel_orphans()
    snakemake = [sys.executable, "-m", "snakemake"]
    if any(Path(".snakemake/locks").glob("*")):
        unlocked = subprocess.run([*snakemake, "--unlock", *sys.argv[1:]], check=False)  # first, since after "--" come targets
        if unlocked.returncode:
            sys.exit(unlocked.returncode)
    os.execv(sys.executable, [*snakemake, *sys.argv[1:]])


def configuration_files(arguments: list[str]) -> list[Path]:
    """Return the configuration files that arguments of Snakemake name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    return list(parser.parse_known_args(arguments)[0].configfile)


def check_configuration(path: Path) -> None:
    """Exit with one line for a configuration file at fault: Snakemake writes several, some without the file, or ends in a traceback."""
    sys.path.insert(0, str(Path.cwd()))  # where `python -m snakemake` finds the modules of users' networks too
    try:
        load_config(path, allow_unset_env=True)
    except InputError as error:
        sys.exit(str(error))


def cancel_orphans() -> None:
    """Cancel the Slurm jobs of a killed run, and wait until they have ended."""
    while jobs := jobs_in_queue():
        print(f"cancelling the Slurm jobs of a run that was killed: {' '.join(jobs)}", file=sys.stderr)
        subprocess.run(["scancel", *jobs], check=True)
        time.sleep(2)


def jobs_in_queue() -> list[str]:
    """List the ids of all jobs submitted by runs in this directory that have not ended."""
    squeue = ["squeue", "--me", "--noheader", "--format=%A|%j|%Z"]
    lines = subprocess.run(squeue, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    jobs = [line.split("|", 2) for line in lines]
    return [job for job, name, folder in jobs if SLURM_JOB.fullmatch(name) and folder == str(Path.cwd())]


if __name__ == "__main__":
    main()
