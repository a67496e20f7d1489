import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from qhyvit.config.dataset import Dataset
from qhyvit.data.entries import pixel_hash, read_checked, read_image
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.manifest import read_manifest, write_manifest
from qhyvit.data.sampling import sample_entries
from qhyvit.errors import InputError


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "set", 6, seed=0)
    return tmp_path / "set"


def test_entries_are_sorted_and_labelled(folder):
    entries = read_entries(folder, 2)
    assert [entry.path.name for entry in entries] == [f"{index:03d}.png" for index in range(6)]
    assert [entry.label for entry in entries] == [0, 1, 0, 1, 0, 1]


def test_a_missing_image_is_refused(folder):
    (folder / "004.png").unlink()
    with pytest.raises(InputError, match=r"004\.png: missing, but listed in .*labels\.csv"):
        read_entries(folder, 2)


def test_labels_or_subfolders_must_be_there(folder):
    (folder / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"set/labels\.csv: no such file, and .*set has no subfolders; write it with the columns"):
        read_entries(folder, 2)


@pytest.fixture
def splits(tmp_path):
    """Calibration and evaluation images in subfolders named by their class."""
    for split, seed in (("train", 0), ("val", 1)):
        for index, name in enumerate(("dog", "cat")):
            write_images(tmp_path / split / name, 3, seed=10 * seed + index)
            (tmp_path / split / name / "labels.csv").unlink()
        (tmp_path / split / "cat/notes.txt").write_text("no image")
    return Dataset(name="mine", classes=2, calibration=tmp_path / "train", evaluation=tmp_path / "val")


def test_subfolders_are_classes_in_order_of_names(splits, tmp_path):
    write_manifest(splits, tmp_path / "images.csv")
    for split, folder in (("calibration", splits.calibration), ("evaluation", splits.evaluation)):
        entries = read_manifest(splits, tmp_path / "images.csv", split)
        expected = [(folder / name / f"{index:03d}.png", label) for label, name in enumerate(("cat", "dog")) for index in range(3)]
        assert [(entry.path, entry.label) for entry in entries] == expected


def test_subfolders_of_another_number_are_refused(splits):
    with pytest.raises(InputError, match=r"train: has subfolders for 2 classes, dataset\.classes is 3; correct one"):
        read_entries(splits.calibration, 3)


def test_splits_with_other_classes_are_refused(splits, tmp_path):
    (splits.evaluation / "dog").rename(splits.evaluation / "fox")
    with pytest.raises(InputError, match=r"train and .*val: subfolders of different names \(dog, fox\); each class needs one in both"):
        write_manifest(splits, tmp_path / "images.csv")


def test_subfolder_without_images_is_refused(splits):
    for path in (splits.calibration / "dog").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"train/dog: has no images \(\.jpg, .*; add some or remove the folder"):
        read_entries(splits.calibration, 2)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"mine: no such folder; put it there \(DVC does not track it\), or correct the path"):
        read_entries(tmp_path / "mine", 2)


def test_a_truncated_image_is_refused(folder):
    path = folder / "002.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"002\.png: damaged or no image"):
        read_image(path)


def test_the_hash_is_of_the_pixels_and_not_of_the_file(folder):
    image = read_image(folder / "000.png")
    image.save(folder / "again.bmp")
    assert pixel_hash(read_image(folder / "again.bmp")) == pixel_hash(image)
    pixels = np.asarray(image).copy()
    pixels[0, 0, 0] ^= 1
    assert pixel_hash(Image.fromarray(pixels)) != pixel_hash(image)


def test_an_image_that_was_changed_after_the_check_is_refused(folder):
    entry = read_entries(folder, 2)[0]
    checked = replace(entry, pixels_sha256=pixel_hash(read_image(entry.path)))
    assert read_checked(checked).size == (16, 16)
    shutil.copy(folder / "001.png", entry.path)
    with pytest.raises(InputError, match=r"000\.png: has changed since"):
        read_checked(checked)


def test_a_seed_draws_the_same_images_and_another_seed_others(folder):
    entries = read_entries(folder, 2)
    assert sample_entries(entries, 3, 0) == sample_entries(entries, 3, 0)
    assert len({tuple(entry.path.name for entry in sample_entries(entries, 3, seed)) for seed in range(5)}) > 1
    assert len(set(sample_entries(entries, 6, 0))) == 6
    assert sample_entries(entries, 6, 0)[:3] == sample_entries(entries, 3, 0)


def test_more_images_than_there_are_cannot_be_drawn(folder):
    with pytest.raises(InputError, match=r"set: has 6 images to calibrate with, 7 are asked for; add images or lower"):
        sample_entries(read_entries(folder, 2), 7, 0)


def test_single_evaluation_image_is_refused(tmp_path):
    write_images(tmp_path / "train", 4, seed=0)
    write_images(tmp_path / "val", 1, seed=1)
    dataset = Dataset(name="mine", classes=2, calibration=tmp_path / "train", evaluation=tmp_path / "val")
    with pytest.raises(InputError, match=r"val: has too few images to evaluate \(1\), since intervals need two; add images"):
        write_manifest(dataset, tmp_path / "images.csv")
