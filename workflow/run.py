"""Run Snakemake in the current directory as its only run, after clearing what a killed run left behind.

The operating system drops the lock of a process that dies, however it dies. So whoever holds it knows that Snakemake's own lock, which
survives its owner, is stale.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

LOCK = Path(".snakemake/run.lock")


def main() -> None:
    """Take the lock, unlock Snakemake, and become Snakemake with the given arguments."""
    LOCK.parent.mkdir(exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another run is active in {Path.cwd()}: wait for it, or stop it first")
    os.set_inheritable(descriptor, True)
    snakemake = [sys.executable, "-m", "snakemake", *sys.argv[1:]]
    if any(Path(".snakemake/locks").glob("*")):
        subprocess.run([*snakemake, "--unlock"], check=True)
    os.execv(sys.executable, snakemake)


if __name__ == "__main__":
    main()
