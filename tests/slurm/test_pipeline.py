"""The workflow itself over a real Slurm, on the tiny project: the same bytes as on this machine, whatever happens on the way."""

import random
import re
import subprocess

import pytest
from cluster import Cluster, missing
from kill_and_resume import ON_SLURM, RESULTS, complete, kill

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _no_jobs_left(cluster):
    yield
    cluster.cancel_all()


@pytest.mark.slow
def test_a_run_on_a_cluster_concludes_with_the_bytes_of_a_local_one(finished, fresh):
    output = fresh.snakemake(*ON_SLURM).stdout
    everything = [*RESULTS, "reports/challenges.csv", "reports/tables/accuracy.csv"]
    assert fresh.bytes_of(*everything) == finished.bytes_of(*everything)
    assert set(re.findall(r"^localrule (\w+):", output, flags=re.MULTILINE)) == {"fetch_images", "fetch_weights", "all"}
    assert "Trying to restart" not in output


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        pytest.param((), 1, id="local-1"),
        pytest.param((), 2, id="local-2", marks=pytest.mark.slow),
        pytest.param(ON_SLURM, 7, id="slurm", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_random_is_completed_to_the_same_bytes(finished, fresh, arguments, seed):
    generator = random.Random(seed)
    with fresh.start("reports/results.csv", *arguments) as run:
        assert kill(run, fresh, generator.randrange(15), generator.uniform(0, 3)) == "main"
    assert complete(fresh, *arguments) == finished.bytes_of(*RESULTS)


@pytest.mark.slow
def test_full_file_system_is_named_and_leaves_no_half_written_file(fresh):
    results = fresh.root / "results"
    results.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(results)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    calibration = results / "tiny/tiny_hybrid/seed0/calibration.safetensors"
    try:
        result = fresh.snakemake(*ON_SLURM, "--retries", "0", "--until", "calibrate", check=False)
        assert result.returncode == 1
        assert "No space left on device" in result.stdout
        assert not list(results.rglob("*calibration*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(results)], check=True)
        fresh.snakemake(*ON_SLURM, "--until", "calibrate")
        assert calibration.exists()
    finally:
        subprocess.run(["umount", str(results)], check=True)


@pytest.mark.slow
def test_a_corrupted_object_stops_what_needs_it_until_it_is_restored(fresh):
    weights = max((path for path in (fresh.root / "dvc-store").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    intact = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(intact[:-1] + b"x")
    result = fresh.snakemake(*ON_SLURM, "--until", "calibrate", check=False)
    assert result.returncode == 1
    assert "data/weights/tiny_hybrid.safetensors: `dvc pull` failed" in result.stdout
    assert "rule calibrate" not in result.stdout
    assert (fresh.root / "results/tiny/images.csv").exists()
    weights.write_bytes(intact)
    fresh.snakemake(*ON_SLURM, "--until", "calibrate")
    assert (fresh.root / "results/tiny/tiny_hybrid/seed0/calibration.safetensors").exists()
