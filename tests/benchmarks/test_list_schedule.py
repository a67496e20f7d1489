import pytest

from benchmarks.list_schedule import critical_path, dependencies, makespan
from workflow.scripts.snakemake_log import Job

# Graham's example of 1969: with three workers the list ends after 12 hours.
SECONDS = dict(zip(range(1, 10), [3, 2, 2, 2, 4, 4, 4, 4, 9], strict=True))
NEEDS = {job: set() for job in SECONDS} | {9: {1}} | {job: {4} for job in (5, 6, 7, 8)}


def test_grahams_example_and_his_anomaly():
    assert makespan(SECONDS, NEEDS, 3) == 12
    assert critical_path(SECONDS, NEEDS) == 12
    # A fourth worker makes it longer: the last job of the list, the longest, begins later.
    assert makespan(SECONDS, NEEDS, 4) == 15


def test_one_worker_takes_the_sum_and_many_the_longest_chain():
    assert makespan(SECONDS, NEEDS, 1) == pytest.approx(sum(SECONDS.values()))
    assert makespan(SECONDS, NEEDS, 9) == critical_path(SECONDS, NEEDS)


def test_a_job_needs_those_that_make_its_inputs():
    jobs = {0: Job("all", input=["c", "b"]), 1: Job("merge", input=["a", "there"], output=["c"]), 2: Job("part", output=["a", "b"])}
    assert dependencies(jobs) == {0: {1, 2}, 1: {2}, 2: set()}
