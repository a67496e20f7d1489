"""A Slurm of one node on this machine. `python tests/slurm/cluster.py COMMAND ...` runs a command with it.

The daemons are Debian's (`apt-get install --no-install-recommends slurm-wlm munge`) and run in the foreground, as children that end with
their parent.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from string import Template

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
SETTINGS = Path("/etc/slurm")  # compiled in; jobs of Snakemake drop the environment variable that could say otherwise
FILES = ("slurm.conf", "gres.conf")
PREFIX = "slurm-"  # of the temporary folder with the files that these link to


def missing() -> str | None:
    """Why there can be no Slurm here; None if there can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if absent := [name for name in DAEMONS if not shutil.which(name)]:
        return f"{', '.join(absent)} not installed: `make test-slurm` installs Debian's packages"
    if any(_is_of_another_slurm(SETTINGS / name) for name in FILES):
        return f"{SETTINGS} belongs to a Slurm that is no test"
    return None


def _is_of_another_slurm(path: Path) -> bool:
    """Tell if a file of settings is there that no `Cluster` has written."""
    if not path.is_symlink():
        return path.exists()
    folder = path.readlink().parent
    return folder.parent != Path(tempfile.gettempdir()) or not folder.name.startswith(PREFIX)


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return as soon as ``condition`` holds. Raises TimeoutError, which says ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Cluster:
    """munged, slurmctld and slurmd, from entering the context until leaving it; what still runs then is killed.

    Raises RuntimeError on entering where there can be no such Slurm, before anything is changed.
    """

    def __enter__(self) -> "Cluster":
        if reason := missing():
            raise RuntimeError(reason)
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.directory.chmod(0o755)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._configure()
            self._start_daemon("munged", "--foreground", *self._munge_options())
            wait_until((self.directory / "munge.socket").exists, 10, "munged opens its socket")
            self._start_daemon("slurmctld", "-D")
            self.start_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_steps()
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()
        for name in FILES:
            (SETTINGS / name).unlink(missing_ok=True)
        shutil.rmtree(self.directory)

    def command(self, *words: str) -> str:
        """Run a command of Slurm and return its output."""
        return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()

    def jobs(self, *states: str) -> list[str]:
        """Ids of the jobs in any of these states."""
        return self.command("squeue", "--noheader", "--format=%A", "--states", ",".join(states)).split()

    def state(self, job: str) -> str:
        """The state of a job, as in CANCELLED; that of the last ten minutes is known."""
        return self.command("squeue", "--noheader", "--format=%T", "--states=all", "--jobs", job)

    def cancel_all(self) -> None:
        """Cancel all jobs and wait until they have ended."""
        self.command("scancel", "--user", "root")
        wait_until(lambda: not self.command("squeue", "--noheader"), 30, "all jobs end")

    def start_node(self) -> None:
        """Start slurmd and wait until its node takes jobs."""
        self._start_daemon("slurmd", "-D", "-N", self.host)
        ready = ("idle", "mixed", "allocated", "completing")
        wait_until(lambda: self.command("sinfo", "--noheader", "--format=%T") in ready, 30, "the node is ready")

    def stop_node(self) -> None:
        """Kill slurmd, but not the jobs that it started."""
        self.daemons["slurmd"].kill()
        self.daemons["slurmd"].wait()

    def crash_node(self) -> None:
        """Kill slurmd and all that it started, as a power cut would. Slurm would notice after its SlurmdTimeout, so it is told."""
        self.stop_node()
        self.kill_steps()
        self.command("scontrol", "update", f"nodename={self.host}", "state=down", "reason=crash")

    def revive_node(self) -> None:
        """Start a crashed node and return it to service."""
        self.command("scontrol", "update", f"nodename={self.host}", "state=resume")
        self.start_node()

    def kill_steps(self) -> None:
        """Kill all job steps and what runs in them."""
        steps = [process for process in psutil.process_iter() if _title(process).startswith("slurmstepd: [")]
        for step in steps:
            for process in [step, *step.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def _configure(self) -> None:
        self.host = socket.gethostname().partition(".")[0]
        (self.directory / "state").mkdir()
        (self.directory / "spool").mkdir()
        (self.directory / "munge.key").write_bytes(os.urandom(1024))
        (self.directory / "munge.key").chmod(0o600)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 * 9 // 10
        settings = Template((Path(__file__).parent / "slurm.conf").read_text())
        (self.directory / "slurm.conf").write_text(
            settings.substitute(host=self.host, directory=self.directory, cpus=os.cpu_count(), memory=memory)
        )
        (self.directory / "gres.conf").write_text(f"NodeName={self.host} Name=gpu File=/dev/zero\n")
        SETTINGS.mkdir(exist_ok=True)
        for name in FILES:
            (SETTINGS / name).unlink(missing_ok=True)
            (SETTINGS / name).symlink_to(self.directory / name)

    def _munge_options(self) -> list[str]:
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        return [f"--{option}={self.directory / name}" for option, name in files.items()]

    def _start_daemon(self, name: str, *arguments: str) -> None:
        output = (self.directory / f"{name}.out").open("ab")
        self.daemons[name] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", name, *arguments], stdout=output, stderr=output, start_new_session=True
        )


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    with Cluster():
        sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
