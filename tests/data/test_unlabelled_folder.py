from pathlib import Path

import pytest

from qhyvit.data.unlabelled_folder import class_labels, draw, list_images, missing_labels


@pytest.fixture
def folder(tmp_path):
    for name in ("b/1.png", "a/2.png", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_labels_are_the_ranks_of_the_subfolders(folder):
    assert missing_labels(list_images(folder), folder, classes=2) == ""
    assert class_labels(list_images(folder), folder) == [0, 1, 1]


def test_other_numbers_of_classes_have_no_labels(folder):
    assert missing_labels(list_images(folder), folder, classes=10) == f"{folder} has 2 subfolders, and the model 10 classes"


def test_images_outside_of_subfolders_have_no_labels(folder):
    (folder / "4.png").touch()
    assert missing_labels(list_images(folder), folder, classes=2) == f"images are in {folder} itself, not in one subfolder per class"


def test_smaller_draw_is_the_start_of_a_larger_one():
    images = [Path(f"{number}.png") for number in range(2000)]
    assert draw(images, 1024, seed=0)[:256] == draw(images, 256, seed=0)  # held-out images are the last of the larger one


def test_links_to_folders_are_followed(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    for name in ("c/4.png", ".hidden/5.png", "c/.6.png"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).touch()
    (folder / "b0").symlink_to(store)
    (folder / ".b1").symlink_to(store)
    names = [str(path.relative_to(folder)) for path in list_images(folder)]
    assert names == ["a/2.png", "b/1.png", "b/3.png", "b0/c/4.png"]
    assert class_labels(list_images(folder), folder) == [0, 1, 1, 2]


@pytest.mark.parametrize("names", [("1", "2", "10"), ("Zebra", "apple")])
def test_subfolders_in_another_order_in_timm_have_no_labels(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    said = f"the subfolders of {tmp_path} are in another order by name than in timm, which sorts numbers as numbers and ignores case"
    assert missing_labels(list_images(tmp_path), tmp_path, classes=len(names)) == said


def test_labels_of_a_file_are_not_read(folder):
    (folder / "labels.csv").touch()
    assert missing_labels(list_images(folder), folder, classes=2) == f"{folder} has its labels in labels.csv, which is not read here"


def test_links_that_lead_back_are_not_followed(folder):
    expected = list_images(folder)
    (folder.parent / "above.png").touch()
    (folder / "a/up").symlink_to(folder.parent)
    (folder / "a/all").symlink_to(folder)
    (folder / "b/itself").symlink_to(folder / "b")
    assert list_images(folder) == expected
    (folder / "a/b").symlink_to(folder / "b")
    assert [path.relative_to(folder / "a/b").name for path in list_images(folder) if path.is_relative_to(folder / "a/b")] == [
        "1.png",
        "3.png",
    ]


def test_folder_may_be_stated_by_way_of_its_own_subfolder(folder):
    assert len(list_images(folder / "a/..")) == 3
