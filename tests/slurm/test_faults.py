"""Faults of a cluster in a small workflow under profiles/slurm: which ones a run survives, and what it says of the others."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import Cluster, missing, wait_until
from conftest import REPOSITORY

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

# Job `a` does something at its first start, job `b` never does; each start of either leaves a line in starts/.
SNAKEFILE = """
rule all:
    localrule: True
    input:
        expand("results/{{name}}.txt", name=["a", "b"]),

rule work:
    output:
        "results/{{name}}.txt",
    resources:
        mem_mb=lambda wildcards, attempt: 600 * attempt,
    shell:
        "echo $SLURM_JOB_ID >> starts/{{wildcards.name}};"
        " if [ {{wildcards.name}} = a ] && [ $(wc -l < starts/a) = 1 ]; then {first}; fi;"
        " {always};"
        " echo done > {{output}}"
"""
QUICKLY = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]
OUTPUTS = {"a.txt": "done\n", "b.txt": "done\n"}


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def make_workflow(cluster, tmp_path):
    """A function that makes the small workflow; its runs and jobs end with the test."""
    workflows = []

    def make(first: str, always: str = "true") -> Workflow:
        workflows.append(Workflow(tmp_path / "workflow", first, always))
        return workflows[-1]

    yield make
    for run in workflows[0].runs:
        run.kill()
        run.wait()
    cluster.cancel_all()


class Workflow:
    """The small workflow in a folder of its own, run as the real one is."""

    def __init__(self, root: Path, first: str, always: str):
        self.root = root
        self.runs: list[subprocess.Popen[str]] = []
        for name in ("profiles", "workflow"):
            shutil.copytree(REPOSITORY / name, root / name)
        (root / "workflow/Snakefile").write_text(SNAKEFILE.format(first=first, always=always))
        (root / "starts").mkdir()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        run = subprocess.Popen(
            [sys.executable, "workflow/scripts/run.py", "--profile", "profiles/slurm", *QUICKLY, *arguments],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.runs.append(run)
        return run

    def starts(self, name: str) -> list[str]:
        """The Slurm job of each start of a job."""
        path = self.root / "starts" / name
        return path.read_text().split() if path.exists() else []

    def wait_for_start(self, name: str) -> str:
        wait_until(lambda: self.starts(name), 180, f"job {name} starts")
        return self.starts(name)[0]

    def outputs(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.root / "results").iterdir()}


def finish(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output of a run."""
    output, _ = run.communicate(timeout=600)
    return run.returncode, output


def test_a_cancelled_job_is_submitted_again(cluster, make_workflow):
    workflow = make_workflow(first="sleep 300")
    run = workflow.start()
    job = workflow.wait_for_start("a")
    cluster.command("scancel", job)
    code, output = finish(run)
    assert code == 0, output
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in output
    assert workflow.outputs() == OUTPUTS
    assert len(workflow.starts("a")) == 2
    assert len(workflow.starts("b")) == 1


def test_without_retries_a_cancelled_job_is_reported_and_the_others_are_kept(cluster, make_workflow):
    workflow = make_workflow(first="sleep 300")
    run = workflow.start("--retries", "0")
    job = workflow.wait_for_start("a")
    cluster.command("scancel", job)
    code, output = finish(run)
    assert code == 1
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in output
    assert workflow.outputs() == {"b.txt": "done\n"}


def test_jobs_outlive_the_daemon_of_their_node(cluster, make_workflow):
    workflow = make_workflow(first="sleep 4")
    run = workflow.start()
    job = workflow.wait_for_start("a")
    cluster.stop_node()
    wait_until(lambda: "a.txt" in workflow.outputs(), 30, "the job ends without slurmd")
    cluster.start_node()
    code, output = finish(run)
    assert code == 0, output
    assert workflow.starts("a") == [job]


def test_what_a_crashed_node_ran_is_run_again(cluster, make_workflow):
    workflow = make_workflow(first="sleep 300")
    run = workflow.start()
    job = workflow.wait_for_start("a")
    cluster.crash_node()
    cluster.revive_node()
    wait_until(lambda: job in cluster.jobs("PENDING"), 60, "Slurm queues the job again")
    for waiting in cluster.jobs("PENDING"):
        cluster.command("scontrol", "update", f"jobid={waiting}", "starttime=now")  # and not in two minutes
    code, output = finish(run)
    assert code == 0, output
    assert workflow.outputs() == OUTPUTS
    assert len(workflow.starts("a")) == 2  # by Slurm, or by a retry if the node was back too soon for that


def test_where_slurm_does_not_start_them_again_a_retry_does(cluster, make_workflow):
    workflow = make_workflow(first="sleep 300")
    run = workflow.start("--slurm-no-requeue")
    job = workflow.wait_for_start("a")
    cluster.crash_node()
    cluster.revive_node()
    code, output = finish(run)
    assert code == 0, output
    assert f"SLURM-job '{job}' failed due to a node failure" in output
    assert workflow.outputs() == OUTPUTS
    assert len(set(workflow.starts("a"))) == 2


def test_a_job_that_ran_out_of_memory_passes_with_more(cluster, make_workflow):
    allocate = f"{sys.executable} -c 'import time; memory = bytes(range(256)) * (700 * 2**12); time.sleep(3)'"
    workflow = make_workflow(first="true", always=allocate)
    code, output = finish(workflow.start("results/a.txt"))
    assert code == 0, output
    first, second = workflow.starts("a")
    assert cluster.state(first) in ("OUT_OF_MEMORY", "FAILED", "CANCELLED")
    requested = [cluster.command("squeue", "--noheader", "--format=%m", "--states=all", "--jobs", job) for job in (first, second)]
    assert requested == ["600M", "1200M"]


def test_a_killed_run_resumes_without_its_orphans(cluster, make_workflow, tmp_path):
    workflow = make_workflow(first="sleep 300")
    run = workflow.start()
    orphan = workflow.wait_for_start("a")
    run.send_signal(signal.SIGKILL)
    run.wait()
    name = cluster.command("squeue", "--noheader", "--format=%j", "--jobs", orphan)
    bystanders = [
        cluster.command("sbatch", "--hold", "--parsable", f"--job-name={other}", f"--chdir={folder}", "--wrap=true")
        for other, folder in ((name, tmp_path), ("mine", workflow.root))
    ]
    code, output = finish(workflow.start())
    assert code == 0, output
    cancelled = " ".join(re.findall("cancelling the Slurm jobs of a run that was killed: (.*)", output)).split()
    assert orphan in cancelled  # with job b, if that had not ended
    assert cluster.state(orphan) == "CANCELLED"
    assert workflow.outputs() == OUTPUTS
    assert [cluster.state(job) for job in bystanders] == ["PENDING", "PENDING"]


def test_a_second_run_is_refused_and_leaves_the_jobs_of_the_first_alone(cluster, make_workflow):
    workflow = make_workflow(first="sleep 5")
    run = workflow.start()
    job = workflow.wait_for_start("a")
    code, output = finish(workflow.start())
    assert code == 1
    assert output == f"another run is active in {workflow.root}: wait for it, or stop it first\n"
    code, output = finish(run)
    assert code == 0, output
    assert workflow.starts("a") == [job]
