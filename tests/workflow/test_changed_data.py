"""Data and results that are replaced by other files after a whole run: they are checked or made again, and all that depends on them."""

import os
import shutil

import pytest
from conftest import TINY_EXPERIMENT

IMAGE, LABELS, WEIGHTS = "data/tiny/evaluation/003.png", "data/tiny/calibration/labels.csv", "data/weights/tiny_hybrid.safetensors"


def replace(project, name, content):
    """Write another content, of a time before the run."""
    path = project.root / name
    before = path.stat().st_mtime - 10**6
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (before, before))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rule"), [(IMAGE, "fetch_images"), (LABELS, "fetch_images"), (WEIGHTS, "fetch_weights")])
def test_file_replaced_by_an_older_one_is_checked_again(copy, name, rule):
    content = (copy.root / name).read_bytes()
    replace(copy, name, content)
    assert not copy.plan().counts  # the same bytes
    replace(copy, name, content[:-1] + bytes([content[-1] ^ 1]))
    planned = copy.run("-m", "snakemake", "--dry-run").stdout
    assert f"{name}: has changed since it was checked, so that it is checked again" in planned
    counts = copy.plan().counts
    assert counts[rule] == 1
    assert counts.keys() >= {"calibrate", "quantize_baseline", "evaluate", "aggregate", "report"}
    assert {"fetch_images", "fetch_weights"} & counts.keys() == {rule}


def test_image_that_is_deleted_is_checked_again(copy):
    (copy.root / IMAGE).unlink()
    assert copy.plan().counts["fetch_images"] == 1


@pytest.mark.slow
def test_changed_labels_are_checked_once(copy):
    """The images are the user's own: DVC would restore its own ones."""
    for split in ("calibration", "evaluation"):
        shutil.copytree(copy.root / "data/tiny" / split, copy.root / "mine" / split)
    copy.configure(
        dataset=TINY_EXPERIMENT["dataset"] | {"name": "mine", "calibration": "mine/calibration", "evaluation": "mine/evaluation"}
    )
    manifest = "results/mine/images.csv"
    copy.snakemake(manifest)
    assert not copy.plan(manifest).counts
    labels = "mine/evaluation/labels.csv"
    replace(copy, labels, (copy.root / labels).read_bytes().replace(b"003.png,1", b"003.png,0"))
    copy.snakemake(manifest)
    assert "evaluation,003.png,0" in (copy.root / manifest).read_text()
    assert not copy.plan(manifest).counts


def test_results_that_git_puts_back_are_made_again(copy):
    results = copy.root / "reports/results.csv"
    content = results.read_bytes()
    os.utime(results)
    assert not copy.plan().counts  # the same bytes
    results.write_bytes(content.replace(b"tiny_hybrid", b"tiny_hybrit"))
    planned = copy.plan()
    assert planned.counts["aggregate"] == 1
    assert not [path for path in planned.outputs() if path.startswith("results/")]
    copy.snakemake("reports/results.csv")
    assert results.read_bytes() == content
    assert "aggregate" not in copy.plan().counts


@pytest.mark.slow
def test_images_that_are_restored_need_no_run(copy):
    replace(copy, IMAGE, (copy.root / IMAGE).read_bytes())
    assert not copy.plan().counts
