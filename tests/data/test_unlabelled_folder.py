import pytest

from qhyvit.data.unlabelled_folder import class_labels, list_images, missing_labels


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
