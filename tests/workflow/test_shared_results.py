"""Another machine continues from shared results, by DVC and Snakemake's own records."""

import errno
import os
import subprocess
from pathlib import Path

import pytest
from conftest import Project, commit_everything

from qhyvit.errors import InputError
from workflow.scripts.shared_results import ARCHIVE, files_shared, require_results, take

SEED = "results/tiny/tiny_hybrid/seed0"


def shared_results(project: Project, command: str) -> str:
    return project.run("-m", "workflow.scripts.shared_results", command).stdout


@pytest.fixture
def elsewhere(copy, tmp_path):
    """A clone of the tiny project after its run, with the shared results and without the networks and calibrations."""
    assert f"commit {ARCHIVE}.dvc" in shared_results(copy, "share")
    commit_everything(copy.root)
    assert str(ARCHIVE) not in subprocess.run(["git", "ls-files"], cwd=copy.root, capture_output=True, text=True, check=True).stdout.split()
    root = tmp_path / "elsewhere"
    subprocess.run(["git", "clone", "--quiet", copy.root, root], check=True)
    project = Project(root)
    shared_results(project, "fetch")
    return project


def test_nothing_that_was_done_is_done_again(elsewhere):
    assert not (elsewhere.root / SEED / "calibration.safetensors").exists()
    assert elsewhere.plan().counts.keys() == {"report", "all"}  # a page of the HTML report, which is not committed
    elsewhere.configure(seeds=[0, 1])
    plan = elsewhere.plan()
    assert [path for path in plan.outputs() if path.startswith("results") and "/seed1/" not in path] == []
    assert {"calibrate", "reconstruct", "evaluate", "aggregate"} <= plan.counts.keys()
    assert "evaluate_fp32" not in plan.counts


def test_next_seed_has_the_data(elsewhere):
    elsewhere.configure(seeds=[0, 1])
    calibration = "results/tiny/tiny_hybrid/seed1/calibration.safetensors"
    assert elsewhere.plan(calibration).counts.keys() == {"calibrate"}
    elsewhere.snakemake(calibration)


def test_changed_code_is_noticed_in_shared_results(elsewhere):
    with (elsewhere.root / "src/qhyvit/methods/qhyvit.py").open("a") as file:
        file.write("EDITED = 1\n")
    outputs = elsewhere.plan().outputs()
    assert f"{SEED}/qhyvit-partial-w4a4.json" in outputs
    assert f"{SEED}/calibration.safetensors" in outputs  # the networks are not shared


def test_fetched_file_is_as_old_as_the_older_of_both(tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder/target"
    for path, seconds in ((source, 100), (target, 200)):
        path.parent.mkdir(exist_ok=True)
        path.write_text("same")
        os.utime(path, (seconds, seconds))
    take(source, target)
    assert target.stat().st_mtime == 100
    target.unlink()
    take(source, target)
    assert (target.read_text(), target.stat().st_mtime) == ("same", 100)


def test_result_is_fetched_to_another_disk(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "results/target"
    source.write_text("same")
    os.utime(source, (100, 100))

    def refuse(*paths):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", refuse)  # as between two disks
    take(source, target)
    assert (target.read_text(), target.stat().st_mtime) == ("same", 100)


def test_only_files_of_runs_are_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_runs = {"results/tiny/net/seed0/a.json", "results/tiny/images.csv", "results/benchmarks/tiny/calibrate/net.tsv"}
    others = ("results/decoded/a.csv", "results/cifar10-sample/cifar10/labels.csv", "results/benchmarks/images.csv")
    for name in (*of_runs, *others, "results/tiny/.a.csv", "results/tiny/a.safetensors"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert set(map(str, files_shared())) == of_runs


def test_other_results_at_the_same_place_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, text in (("results", "mine"), ("fetched/results", "theirs")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "images.csv").write_text(text)
    with pytest.raises(InputError, match=r"results/images.csv: is not that of reports/runs.tar.xz"):
        require_results([Path("results/images.csv")], Path("fetched"))


@pytest.mark.parametrize("name", ["benchmarks/tiny/calibrate/net.tsv", "tiny/images.stamps.csv", "tiny/net/weights.stamp.csv"])
def test_other_seconds_and_time_stamps_are_no_conflict(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path("results", name)
    for file, text in ((path, "mine"), ("fetched" / path, "theirs")):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    require_results([path], Path("fetched"))
    take("fetched" / path, path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("path", ["src/sitecustomize.py", "results/../sitecustomize.py"])
def test_archive_with_other_files_is_refused(path):
    with pytest.raises(InputError, match=rf"runs.tar.xz: has {path}, which is no result"):
        require_results([Path(path)], Path("fetched"))


def test_no_results_is_one_line(fresh):
    result = fresh.run("-m", "workflow.scripts.shared_results", "share", check=False)
    assert result.returncode == 1
    assert result.stdout == "results: no results of finished jobs here; run `make reproduce` first\n"
