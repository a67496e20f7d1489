"""Runs that fail on the way: with evaluation in shards, and with a corrupted object in the DVC remote."""

import re

import pytest
from conftest import TINY_EXPERIMENT, write_images

FOLDER = "results/tiny/tiny_hybrid"


@pytest.mark.slow
def test_finished_shards_outlive_a_failure(fresh):
    evaluation = fresh.root / "data/many"
    write_images(evaluation, 30, seed=3)  # two batches
    fresh.configure(dataset=TINY_EXPERIMENT["dataset"] | {"evaluation": "data/many"}, evaluation={"shards": 2})
    fresh.snakemake(f"{FOLDER}/fp32.shard1of2.safetensors")
    (decoded,) = (fresh.root / "results/decoded").glob("*.npy")
    decoded.write_bytes(decoded.read_bytes()[:-1] + b"x")
    failed = fresh.snakemake(f"{FOLDER}/fp32.json", check=False)
    assert failed.returncode == 1
    assert "image 29 has changed since it was decoded" in failed.stdout
    assert [path.name for path in (fresh.root / FOLDER).glob("*.shard*")] == ["fp32.shard1of2.safetensors"]
    decoded.unlink()
    resumed = fresh.snakemake(f"{FOLDER}/fp32.json").stdout
    assert sorted(re.findall(r"^(?:local)?rule (\w+):", resumed, flags=re.MULTILINE)) == ["evaluate_fp32", "predict"]
    assert not list((fresh.root / FOLDER).glob("*.shard*"))


def test_corrupted_object_in_the_remote_stops_the_workflow(fresh):
    victim = next(path for path in (fresh.root / "dvc-store/files").rglob("*") if path.is_file() and path.read_bytes()[1:4] == b"PNG")
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    result = fresh.snakemake("--until", "fetch_images", check=False)
    assert result.returncode == 1
    assert "data/tiny" in result.stdout
    assert "holds a corrupted one" in result.stdout
    assert not (fresh.root / "results/tiny/images.csv").exists()
