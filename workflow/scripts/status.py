"""Progress of the latest run in this directory: jobs done, running, failed and remaining, and the time that these will take.

All of it comes from Snakemake's log, so that it costs the run nothing; the lock of `workflow/scripts/run.py` tells if the run is active.
"""

import fcntl
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean

import pandas as pd

from workflow.scripts.run import LOCK
from workflow.scripts.snakemake_log import Job, planned, read_jobs


def main() -> None:
    """Print the status."""
    active = is_active()
    logs = sorted(Path(".snakemake/log").glob("*.snakemake.log"), reverse=True)
    texts = (path.read_text() for path in (logs[:1] if active else logs))
    text = next((text for text in texts if planned(text)), None)
    if text is None:
        sys.exit("a run is active and still plans its jobs" if active else "no run in this directory yet; start one with `make reproduce`")
    print(describe(text, active, datetime.now()))


def is_active() -> bool:
    """Tell if a run holds the lock of this directory."""
    if not LOCK.exists():
        return False
    with LOCK.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def describe(text: str, active: bool, now: datetime) -> str:
    """Describe the run that wrote a log: when it started, a table of its jobs by rule, and how long it will still take."""
    jobs = read_jobs(text)
    table = count(planned(text), jobs.values(), active)
    started = min((job.started for job in jobs.values() if job.started), default=now)
    head = f"run of {started:%Y-%m-%d %H:%M:%S}, {'active' if active else 'not active'}"
    return "\n".join([head, "", table.to_string(), "", _outlook(table, jobs.values(), active, now)])


def count(plan: dict[str, int], jobs: Iterable[Job], active: bool) -> pd.DataFrame:
    """Count the jobs of each rule, and of all, that are done, running, failed and remaining. If the run is not active, none are running."""
    listed = list(jobs)
    done = pd.Series([job.rule for job in listed if job.finished], dtype=str).value_counts()
    failed = pd.Series([job.rule for job in listed if job.failed], dtype=str).value_counts()
    running = pd.Series([job.rule for job in listed if active and _runs(job)], dtype=str).value_counts()
    table = pd.DataFrame({"done": done, "running": running, "failed": failed}, index=list(plan)).fillna(0).astype(int)
    table["remaining"] = pd.Series(plan) - table.sum(axis=1)
    table.loc["total"] = table.sum()
    return table


def time_left(table: pd.DataFrame, jobs: Iterable[Job], now: datetime) -> timedelta | None:
    """Estimate the time until all jobs are done, on as many workers as are busy now; None before the first job finishes.

    A job takes as long as the finished jobs of its rule on average, or of all rules where its own has none.
    """
    listed = list(jobs)
    seconds = pd.DataFrame([(job.rule, job.seconds) for job in listed if job.seconds is not None], columns=["rule", "seconds"])
    running = [job for job in listed if _runs(job)]
    if seconds.empty or not running:
        return None
    means = seconds.groupby("rule").seconds.mean().reindex(table.index.drop("total")).fillna(fmean(seconds.seconds))
    waiting = float((table.remaining.drop("total") * means).sum())
    begun = sum(max(0.0, means[job.rule] - (now - job.started).total_seconds()) for job in running if job.started)
    return timedelta(seconds=round((waiting + begun) / len(running)))


def _runs(job: Job) -> bool:
    return not job.finished and not job.failed


def _outlook(table: pd.DataFrame, jobs: Iterable[Job], active: bool, now: datetime) -> str:
    total = table.loc["total"]
    if active:
        estimate = time_left(table, jobs, now)
        return f"time left: {'unknown until the first job finishes' if estimate is None else f'about {estimate}'}"
    if total.remaining or total.failed:
        return "repeat the command to resume"
    return "complete"


if __name__ == "__main__":
    main()
