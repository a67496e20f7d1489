"""Jobs in the output of Snakemake: in the log of a run (.snakemake/log) or in a plan (`snakemake -n`)."""

import re
from dataclasses import dataclass, field
from datetime import datetime

STATS = re.compile(r"^job +count\n[- ]+\n(.*?)^total", flags=re.MULTILINE | re.DOTALL)
JOB = re.compile(r"(?:local)?(?:rule|checkpoint) (\w+):$")
FINISHED = re.compile(r"Finished jobid: (\d+) \(Rule: (\w+)\)")
FAILED = re.compile(r"Error in rule \w+:$")
FIELD = re.compile(r"(input|output|jobid|wildcards|reason): (.*)$")


@dataclass
class Job:
    """Job with its files, the time of its last start, and how it ended."""

    rule: str
    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    wildcards: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    failed: bool = False

    @property
    def seconds(self) -> float | None:
        """Duration in seconds; None for a job that has not succeeded."""
        return (self.finished - self.started).total_seconds() if self.started and self.finished else None


def planned(text: str) -> dict[str, int]:
    """Count the planned jobs of each rule; empty if there are none, or if Snakemake has not listed them yet."""
    table = STATS.search(text)
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table[1], flags=re.MULTILINE)} if table else {}


def read_jobs(text: str) -> dict[int, Job]:
    """Read all listed jobs, by number. Those of a group are indented."""
    jobs: dict[int, Job] = {}
    now, job, failed = None, None, False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            now, job, failed = _time(line) or now, None, False
        elif line == "jobs:":  # the jobs of a group that has failed follow
            failed = True
        elif match := JOB.match(line):
            job = Job(match[1], started=now, failed=failed)
        elif match := FINISHED.match(line):
            jobs.setdefault(int(match[1]), Job(match[2])).finished = now  # --quiet lists no jobs
        elif FAILED.match(line):
            job = Job("", failed=True)
        elif job and (match := FIELD.match(line)):
            _read_field(jobs, job, match[1], match[2])
    return jobs


def _read_field(jobs: dict[int, Job], job: Job, name: str, value: str) -> None:
    if name == "jobid" and job.failed:
        jobs[int(value)].failed = True
    elif name == "jobid":
        jobs[int(value)] = job
    elif name == "wildcards":
        job.wildcards = dict(pair.split("=", 1) for pair in value.split(", "))
    elif name == "input":
        job.input = value.split(", ")
    elif name == "reason":
        job.reason = value
    elif name == "output":
        job.output = value.split(", ")


def _time(line: str) -> datetime | None:
    try:
        return datetime.strptime(line, "[%a %b %d %H:%M:%S %Y]")
    except ValueError:
        return None
