"""`make status`, on a log written by hand and on one that Snakemake writes now."""

import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta

import pytest
from conftest import REPOSITORY

from workflow.scripts.snakemake_log import planned, read_jobs
from workflow.scripts.status import count, describe, time_left

LOG = """Building DAG of jobs...
Job stats:
job          count
---------  -------
calibrate        4
evaluate         2
all              1
total            7

Select jobs to execute...
[Mon Nov 23 16:00:00 2026]
rule calibrate:
    input: images.csv, a/weights.json
    output: a/calibration
    jobid: 1
    wildcards: model=a, seed=0
[Mon Nov 23 16:00:00 2026]
rule calibrate:
    output: b/calibration
    jobid: 2
[Mon Nov 23 16:00:10 2026]
Finished jobid: 1 (Rule: calibrate)
1 of 7 steps (14%) done
[Mon Nov 23 16:00:10 2026]
localrule evaluate:
    jobid: 3
[Mon Nov 23 16:00:20 2026]
Finished jobid: 2 (Rule: calibrate)
[Mon Nov 23 16:00:25 2026]
rule calibrate:
    jobid: 4
[Mon Nov 23 16:00:25 2026]
rule evaluate:
    jobid: 5
[Mon Nov 23 16:00:26 2026]
Error in rule evaluate:
    message: None
    jobid: 5
Trying to restart job 5.
[Mon Nov 23 16:00:26 2026]
rule evaluate:
    jobid: 5
[Mon Nov 23 16:00:27 2026]
Error in rule evaluate:
    message: None
    jobid: 5
"""
NOW = datetime(2026, 11, 23, 16, 0, 30)


def test_jobs_are_counted_by_rule_and_state():
    table = count(planned(LOG), read_jobs(LOG).values(), active=True)
    assert table.loc["calibrate"].to_dict() == {"done": 2, "running": 1, "failed": 0, "remaining": 1}
    assert table.loc["evaluate"].to_dict() == {"done": 0, "running": 1, "failed": 1, "remaining": 0}
    assert table.loc["total"].to_dict() == {"done": 2, "running": 2, "failed": 1, "remaining": 2}


def test_jobs_of_a_log_that_lists_none_are_counted_when_they_end():
    """A run with `--quiet rules`."""
    quiet = "\n".join(line for line in LOG.splitlines() if not line.startswith(("rule", "localrule", "    ", "Error", "Trying")))
    table = count(planned(quiet), read_jobs(quiet).values(), active=True)
    assert table.loc["calibrate"].to_dict() == {"done": 2, "running": 0, "failed": 0, "remaining": 2}


def test_files_wildcards_and_durations_are_read():
    jobs = read_jobs(LOG)
    assert jobs[1].input == ["images.csv", "a/weights.json"]
    assert jobs[1].output == ["a/calibration"]
    assert jobs[1].wildcards == {"model": "a", "seed": "0"}
    assert [jobs[number].seconds for number in (1, 2, 3)] == [10, 20, None]


def test_remaining_jobs_take_as_long_as_others_of_their_rule():
    # Calibrations took 15 s on average, and so will all else. To come: a calibration and `all`, 2 x 15 s; a calibration that began 5 s ago,
    # 10 s; an evaluation that began 20 s ago, nothing. Two jobs run at a time.
    jobs = read_jobs(LOG).values()
    assert time_left(count(planned(LOG), jobs, active=True), jobs, NOW) == timedelta(seconds=20)


def test_inactive_run_has_no_running_jobs():
    text = describe(LOG, active=False, now=NOW)
    assert "not active" in text
    assert re.search(r"^total +2 +0 +1 +4$", text, flags=re.MULTILINE)
    assert text.endswith("repeat the command to resume")


def test_jobs_of_a_failed_group_have_failed():
    text = (
        LOG
        + """[Mon Nov 23 16:00:28 2026]
Group job fd3a of 2 jobs failed:
    jobs:
        rule calibrate:
            jobid: 4
            output: d/calibration
        rule evaluate:
            jobid: 3
"""
    )
    jobs = read_jobs(text)
    assert {number: jobs[number].failed for number in (4, 3, 2)} == {4: True, 3: True, 2: False}


SNAKEFILE = """
rule all:
    input: expand("quick{i}", i=range(3)), "slow", "bad"
rule quick:
    output: "quick{i}"
    shell: "touch {output}"
rule slow:
    output: "slow"
    shell: "while [ ! -e go ]; do sleep 0.1; done; touch {output}"
rule bad:
    output: "bad"
    shell: "exit 1"
"""


@pytest.fixture
def run(tmp_path):
    """A run in ``tmp_path`` whose job `slow` waits for the file `go`."""
    shutil.copytree(REPOSITORY / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("Snakefile", "rules", "__pycache__"))
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "workflow/scripts/run.py", "--cores", "2", "--keep-going"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()
        (tmp_path / "go").touch()


def status(folder) -> str:
    result = subprocess.run([sys.executable, "-m", "workflow.scripts.status"], cwd=folder, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def test_log_is_understood_while_a_run_is_active_and_later(run, tmp_path):
    deadline = time.monotonic() + 300
    while not re.search(r"^total +3 +1 +1 +1$", text := status(tmp_path), flags=re.MULTILINE):
        assert time.monotonic() < deadline, text
        time.sleep(0.5)
    assert "active\n" in text
    assert "not active" not in text
    assert re.search(r"^slow +0 +1 +0 +0$", text, flags=re.MULTILINE)
    assert "time left: about" in text
    run.send_signal(signal.SIGKILL)
    run.wait()
    text = status(tmp_path)
    assert "not active" in text
    assert re.search(r"^total +3 +0 +1 +2$", text, flags=re.MULTILINE)


def test_folder_without_a_run_names_the_command(tmp_path):
    shutil.copytree(REPOSITORY / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    assert "no run in this directory yet" in status(tmp_path)
