"""States of data files: what counts as a change, and that a file is read only where its time differs."""

import os
from pathlib import Path

import pytest
from conftest import write_images

from qhyvit.config.dataset import Dataset
from qhyvit.data import stamps
from qhyvit.data.manifest import write_manifest
from qhyvit.data.stamps import FIRST, WEIGHTS, data_state, places_of, write_stamp

STAMPS = Path("images.stamps.csv")


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, split in enumerate(("calibration", "evaluation")):
        write_images(tmp_path / split, 3, seed=seed)
    dataset = Dataset(name="mine", classes=2, calibration="calibration", evaluation="evaluation")
    write_manifest(dataset, Path("images.csv"), STAMPS)
    return dataset


def changes(dataset):
    return data_state(STAMPS, places_of(dataset))[1]


def replace(path, content, *, older):
    """Replace a file's content, and give it an older time, or the one that it had."""
    former = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(former, former - 10**12 if older else former))


CHANGES = {
    "older image": lambda: replace(Path("evaluation/001.png"), Path("evaluation/002.png").read_bytes(), older=True),
    "image of equal time": lambda: replace(Path("evaluation/001.png"), Path("evaluation/001.png").read_bytes() + b"x", older=False),
    "older labels of equal size": lambda: replace(
        Path("calibration/labels.csv"), Path("calibration/labels.csv").read_bytes().replace(b",1", b",0"), older=True
    ),
    "missing image": lambda: Path("calibration/000.png").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_found(dataset, change):
    assert changes(dataset) == []
    CHANGES[change]()
    (found,) = changes(dataset)
    assert found in {Path("evaluation/001.png"), Path("calibration/labels.csv"), Path("calibration/000.png")}


def test_file_is_read_only_where_its_time_differs(dataset, monkeypatch):
    read = []
    monkeypatch.setattr(stamps, "file_sha256", lambda path: read.append(path) or "other")
    assert changes(dataset) == []
    os.utime("evaluation/001.png", ns=(0, 0))
    assert changes(dataset) == [Path("evaluation/001.png")]
    assert {*read} == {Path("evaluation/001.png")}


def test_equal_file_of_another_time_is_no_change(dataset):
    for path in Path("evaluation").iterdir():
        os.utime(path, ns=(0, 0))
    assert changes(dataset) == []


def test_plan_without_data_or_stamps_finds_no_change(dataset):
    Path("evaluation").rename("elsewhere")
    assert changes(dataset) == []
    STAMPS.write_bytes(b"\xff,no,stamps\n")
    Path("calibration/000.png").unlink()
    assert changes(dataset) == []
    STAMPS.unlink()
    assert changes(dataset) == []


def test_state_is_another_one_until_the_data_are_checked_in_it(dataset):
    assert data_state(STAMPS, places_of(dataset)) == (FIRST, [])
    states = [FIRST]
    for content in (b"one", b"other"):
        replace(Path("evaluation/labels.csv"), b"filename,label\n001.png,1\n002.png,0\n" + b"\n" * len(content), older=True)
        state, _ = data_state(STAMPS, places_of(dataset))
        assert state == data_state(STAMPS, places_of(dataset))[0]
        states.append(state)
        write_manifest(dataset, Path("images.csv"), STAMPS, state)
        assert data_state(STAMPS, places_of(dataset)) == (state, [])
    assert len({*states}) == 3


def test_weights_that_are_replaced_are_in_another_state(tmp_path):
    weights, stamps = tmp_path / "net.safetensors", tmp_path / "weights.stamp.csv"
    weights.write_bytes(b"weights")
    assert data_state(stamps, {WEIGHTS: weights}) == (FIRST, [])
    write_stamp(stamps, "second", weights)
    assert data_state(stamps, {WEIGHTS: weights}) == ("second", [])
    replace(weights, b"WEIGHTS", older=True)
    assert data_state(stamps, {WEIGHTS: weights})[1] == [weights]
    weights.unlink()
    assert data_state(stamps, {WEIGHTS: weights}) == ("second", [])
