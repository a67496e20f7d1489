"""Evaluation in shards through the workflow: what it plans, and that a run that failed midway goes on with the shards that it has."""

import re
import shutil

from conftest import TINY_EXPERIMENT, make_project, write_images

FOLDER = "results/tiny/mobilevit_xxs"


def test_finished_shards_outlive_a_failure_and_the_result_is_that_of_one_job(tmp_path):
    project = make_project(tmp_path / "project")
    evaluation = project.root / "data/many"
    write_images(evaluation, 30, seed=3)  # two batches
    project.configure(dataset=TINY_EXPERIMENT["dataset"] | {"evaluation": "data/many"}, evaluation={"shards": 2})
    project.snakemake("results/tiny/images.csv")
    checked = (evaluation / "028.png").read_bytes()
    shutil.copy(evaluation / "029.png", evaluation / "028.png")
    failed = project.snakemake(f"{FOLDER}/fp32.json", check=False)
    assert failed.returncode == 1
    assert "028.png: has changed since" in failed.stdout
    assert [path.name for path in (project.root / FOLDER).glob("*.shard*")] == ["fp32.shard1of2.safetensors"]
    (evaluation / "028.png").write_bytes(checked)
    goes_on = project.snakemake(f"{FOLDER}/fp32.json").stdout
    assert sorted(re.findall(r"^(?:local)?rule (\w+):", goes_on, flags=re.MULTILINE)) == ["evaluate_fp32", "predict"]
    assert not list((project.root / FOLDER).glob("*.shard*"))
    alone = ["--images", "results/tiny/images.csv", "--output", "alone.json", "--logits", "alone.safetensors"]
    project.run("-m", "qhyvit", "evaluate", "--config", "config/config.yaml", "--model", "mobilevit_xxs", *alone)
    assert project.bytes_of("alone.json", "alone.safetensors") == project.bytes_of(f"{FOLDER}/fp32.json", f"{FOLDER}/fp32.safetensors")
