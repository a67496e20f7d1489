"""Subsets of a miniature ILSVRC2012, as folders and as archives, whose labels are known by hand."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml
from ilsvrc import LABELS, TRAIN_FILES, VALIDATION, VALIDATION_FILES, write_archives, write_folders

from qhyvit.config.dataset import Dataset, Subset
from qhyvit.data import labelled_folder
from qhyvit.data.manifest import read_manifest, write_manifest
from qhyvit.data.subset import write_subset
from qhyvit.errors import InputError

FOLDER = Path("imagenet/mini-2")


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A project without anything, with the images in folders next to it."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    write_folders(tmp_path / "folders")
    return tmp_path / "folders"


def dataset(source: Path, calibration: int = 1, evaluation: int = 2, seed: int = 0) -> Dataset:
    subset = Subset(calibration=calibration, evaluation=evaluation, seed=seed)
    return Dataset(name="mini", layout="imagenet", classes=3, calibration=source / "train", evaluation=source / "val", subset=subset)


def rows(split: str) -> list[dict[str, str]]:
    with (FOLDER / split / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_subset_has_original_files_with_labels_and_wordnet_ids_written_by_hand(source):
    write_subset(dataset(source), FOLDER)
    evaluation, calibration = rows("evaluation"), rows("calibration")
    assert [row["label"] for row in evaluation] == ["0", "0", "1", "1", "2", "2"]
    assert [row["label"] for row in calibration] == ["0", "1", "2"]
    for row in (*evaluation, *calibration):
        wordnet_id, name = row["filename"].split("/")
        number = int(name.removesuffix(".JPEG").rpartition("_")[2])
        expected = VALIDATION[number] if "val" in name else name.partition("_")[0]
        assert (wordnet_id, row["wordnet_id"], int(row["label"])) == (expected, expected, LABELS[expected])
    for split, files in (("evaluation", VALIDATION_FILES), ("calibration", TRAIN_FILES)):
        images = {Path(name).name: content for name, content in contents(FOLDER / split).items() if name != "labels.csv"}
        assert images.items() <= files.items()
        assert len(images) == len(rows(split))
    assert yaml.safe_load((FOLDER / "subset.yaml").read_text()) == {"classes": 3, "calibration": 1, "evaluation": 2, "seed": 0}


def test_archives_and_folders_give_the_same_bytes(source, tmp_path):
    write_archives(tmp_path / "archives")
    other = Path("imagenet/of-archives")
    write_subset(dataset(source), FOLDER)
    write_subset(dataset(tmp_path / "archives"), other)
    assert contents(FOLDER) == contents(other)


@pytest.mark.parametrize("seed", range(3))
def test_images_are_those_of_an_experiment_with_this_subset_in_its_order(source, tmp_path, seed):
    described = dataset(source, seed=seed)
    write_subset(described, FOLDER)
    write_manifest(described, tmp_path / "manifest.csv")
    for split in ("calibration", "evaluation"):
        expected = [(entry.path.name, entry.label) for entry in read_manifest(described, tmp_path / "manifest.csv", split)]
        assert [(entry.path.name, entry.label) for entry in labelled_folder.read_entries(FOLDER / split, 3)] == expected


@pytest.mark.parametrize(
    ("changes", "different"),
    [({"seed": 4}, "seed 0 instead of 4"), ({"evaluation": 3, "seed": 1}, "evaluation 2 instead of 3, seed 0 inst")],
)
def test_subset_with_other_settings_is_refused(source, changes, different):
    write_subset(dataset(source), FOLDER)
    before = contents(FOLDER)
    with pytest.raises(
        InputError, match=rf"^imagenet/mini-2: exists with {different}.*; give this subset another name, or remove"
    ) as error:
        write_subset(dataset(source, **changes), FOLDER)
    assert "\n" not in str(error.value)
    assert contents(FOLDER) == before


def test_subset_that_is_there_needs_no_source(source):
    write_subset(dataset(source), FOLDER)
    shutil.rmtree(source)
    write_subset(dataset(source), FOLDER)


@pytest.mark.parametrize("record", [None, "a: [b", "- 1"], ids=["missing", "no-yaml", "other-yaml"])
def test_other_folder_of_that_name_is_left_alone(source, record):
    FOLDER.mkdir(parents=True)
    if record:
        (FOLDER / "subset.yaml").write_text(record)
    with pytest.raises(InputError, match=r"^imagenet/mini-2/subset\.yaml: not written by `qhyvit fetch subset`"):
        write_subset(dataset(source), FOLDER)


def test_subset_that_was_not_pulled_is_not_drawn_again(source):
    Path("imagenet").mkdir()
    Path("imagenet/mini-2.dvc").write_text("outs:\n- path: mini-2\n  md5: 0.dir\n")
    with pytest.raises(InputError, match=r"^imagenet/mini-2: tracked by imagenet/mini-2\.dvc, .* `dvc --cd imagenet pull --force`, or"):
        write_subset(dataset(source), FOLDER)


def test_class_with_too_few_images_is_named(source):
    message = r"folders/train: class n01000000 has 1 images, 2 are asked for; add images or ask for fewer calibration images$"
    with pytest.raises(InputError, match=message):
        write_subset(dataset(source, calibration=2), FOLDER)
    assert not FOLDER.exists()


def test_classes_of_one_split_alone_are_named(source):
    (source / "train/n01000000").rename(source / "train/n04000000")
    with pytest.raises(InputError, match=r"have images of different classes \(n01000000, n04000000\)"):
        write_subset(dataset(source), FOLDER)


@pytest.mark.parametrize("fault", ["damaged", "shared"])
def test_fault_of_an_image_leaves_nothing(source, fault):
    (image,) = (source / "train/n01000000").iterdir()
    shutil.copy(next((source / "val/n01000000").iterdir()), image)
    if fault == "damaged":
        image.write_bytes(image.read_bytes()[:100])
    message = "damaged or no image" if fault == "damaged" else "also an evaluation image"
    with pytest.raises(InputError, match=rf"{image.name}: {message}"):
        write_subset(dataset(source, evaluation=3), FOLDER)
    assert not list(Path("imagenet").glob("*"))
    assert not list(Path("imagenet").glob(".*"))


def test_interrupted_copy_leaves_nothing_that_looks_like_a_subset(source, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("qhyvit.data.subset.read_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_subset(dataset(source), FOLDER)
    assert not FOLDER.exists()
    assert contents(Path("imagenet")) == {}
    monkeypatch.undo()
