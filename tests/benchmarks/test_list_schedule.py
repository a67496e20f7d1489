import pytest

from benchmarks.list_schedule import critical_path, dependencies, makespan
from workflow.scripts.snakemake_log import Job

# Graham's example of 1969: with three workers the list ends after 12 hours.
SECONDS = dict(zip(range(1, 10), [3, 2, 2, 2, 4, 4, 4, 4, 9], strict=True))
CORES = dict.fromkeys(SECONDS, "core")
NEEDS = {job: set() for job in SECONDS} | {9: {1}} | {job: {4} for job in (5, 6, 7, 8)}


def test_grahams_example_and_his_anomaly():
    assert makespan(SECONDS, NEEDS, {"core": 3}, CORES) == 12
    assert critical_path(SECONDS, NEEDS) == 12
    # A fourth worker makes it longer: the last job of the list, the longest, begins later.
    assert makespan(SECONDS, NEEDS, {"core": 4}, CORES) == 15


def test_one_worker_takes_the_sum_and_many_the_longest_chain():
    assert makespan(SECONDS, NEEDS, {"core": 1}, CORES) == pytest.approx(sum(SECONDS.values()))
    assert makespan(SECONDS, NEEDS, {"core": 9}, CORES) == critical_path(SECONDS, NEEDS)


def test_jobs_wait_for_a_worker_of_their_kind_while_others_run():
    seconds, needs = {1: 2.0, 2: 3.0, 3: 4.0, 4: 1.0}, {1: set(), 2: set(), 3: set(), 4: {2}}
    kinds = {1: "gpu", 2: "gpu", 3: "core", 4: "core"}
    assert makespan(seconds, needs, {"core": 1, "gpu": 1}, kinds) == 6  # 1 and 2 one after the other, 3 meanwhile, then 4
    assert makespan(seconds, needs, {"core": 1, "gpu": 2}, kinds) == 5  # 4 waits for the core


def test_a_job_needs_those_that_make_its_inputs():
    jobs = {0: Job("all", input=["c", "b"]), 1: Job("merge", input=["a", "there"], output=["c"]), 2: Job("part", output=["a", "b"])}
    assert dependencies(jobs) == {0: {1, 2}, 1: {2}, 2: set()}
