"""A miniature ILSVRC2012: three classes, in folders and in archives, whose labels are known by hand."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ilsvrc import (
    LABELS,
    SYNSETS,
    TRAIN_FILES,
    TRUTH,
    VALIDATION,
    VALIDATION_FILES,
    read_entries,
    write_archives,
    write_devkit,
    write_folders,
    write_tar,
)
from PIL import Image

from qhyvit.config.dataset import Dataset, Subset
from qhyvit.data.entries import read_image
from qhyvit.data.imagenet import place
from qhyvit.data.manifest import read_manifest, write_manifest
from qhyvit.errors import InputError


@pytest.fixture
def archives(tmp_path):
    """`train` and `val`, which are not there, next to the archives in their place."""
    write_archives(tmp_path / "archives")
    return tmp_path / "archives"


@pytest.fixture
def folders(tmp_path):
    write_folders(tmp_path / "folders")
    return tmp_path / "folders"


def dataset(root: Path, **subset: int) -> Dataset:
    return Dataset(name="mini", layout="imagenet", classes=3, calibration=root / "train", evaluation=root / "val", subset=Subset(**subset))


def written(root: Path, manifest: Path, **subset: int):
    """The entries of both splits, by way of a manifest."""
    described = dataset(root, **subset)
    write_manifest(described, manifest)
    return [read_manifest(described, manifest, split) for split in ("calibration", "evaluation")]


@pytest.mark.parametrize("form", ["folders", "archives"])
def test_labels_are_those_written_by_hand_and_images_those_that_were_put_in(form, request):
    root = request.getfixturevalue(form)
    evaluation = read_entries(place(root / "val"), 3)
    expected = {f"ILSVRC2012_val_{number:08d}.JPEG": LABELS[wordnet_id] for number, wordnet_id in VALIDATION.items()}
    assert {entry.path.name: entry.label for entry in evaluation} == expected
    assert [entry.label for entry in evaluation] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    calibration = read_entries(place(root / "train"), 3)
    assert {entry.path.name: entry.label for entry in calibration} == {name: LABELS[name.partition("_")[0]] for name in TRAIN_FILES}
    for entry in (*evaluation, *calibration):
        content = (VALIDATION_FILES | TRAIN_FILES)[entry.path.name]
        assert read_image(entry.path, entry.part).tobytes() == Image.open(io.BytesIO(content)).tobytes()


@pytest.mark.parametrize("subset", [{}, {"calibration": 1, "evaluation": 2, "seed": 3}])
def test_folders_and_archives_are_the_same_set_in_the_same_order(folders, archives, tmp_path, subset):
    of_folders, of_archives = (
        [[(entry.path.name, entry.label, entry.pixels_sha256) for entry in entries] for entries in written(root, tmp_path / name, **subset)]
        for name, root in (("one.csv", folders), ("other.csv", archives))
    )
    assert of_folders == of_archives
    assert [len(entries) for entries in of_folders] == ([3, 6] if subset else [6, 9])


def test_a_subset_has_as_many_images_of_each_class_and_another_seed_draws_others(folders, tmp_path):
    drawn = set()
    for seed in range(8):
        calibration, evaluation = written(folders, tmp_path / "manifest.csv", evaluation=2, seed=seed)
        assert [entry.label for entry in evaluation] == [0, 0, 1, 1, 2, 2]
        names = tuple(entry.path.name for entry in evaluation)
        assert len(set(names)) == 6
        assert len(calibration) == 6  # all, where nothing is said
        drawn.add(names)
    assert len(drawn) > 1
    assert {name for names in drawn for name in names} == set(VALIDATION_FILES)  # any image may be drawn


def test_a_class_with_too_few_images_is_named(folders, tmp_path):
    with pytest.raises(InputError, match=r"train/n01000000: class 0 has 1 images, 2 are asked for"):
        write_manifest(dataset(folders, calibration=2), tmp_path / "manifest.csv")
    assert not (tmp_path / "manifest.csv").exists()


def test_nothing_is_unpacked(archives, tmp_path):
    before = sorted(archives.iterdir())
    written(archives, tmp_path / "manifest.csv")
    assert sorted(archives.iterdir()) == before


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


TRUNCATIONS = {
    "ILSVRC2012_img_val.tar": (700, 5000),  # in an image; between images, some of which are missing then
    "ILSVRC2012_img_train.tar": (700, 1800, 3000),
    "ILSVRC2012_devkit_t12.tar.gz": (20, 200),
}


@pytest.mark.parametrize(("name", "length"), [(name, length) for name, lengths in TRUNCATIONS.items() for length in lengths])
def test_a_truncated_archive_is_one_clear_line(archives, name, length):
    assert length < (archives / name).stat().st_size
    cut(archives / name, length)
    split = "train" if "train" in name else "val"
    with pytest.raises(InputError, match=rf"^\S*{name}: .*(download it again|download the archive again|2 classes)") as error:
        read_entries(place(archives / split), 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "ILSVRC2012_devkit_t3"}, r"devkit_t12\.tar\.gz: not the archive .*meta\.mat"),
        ({"synsets": SYNSETS[:2]}, r"devkit_t12\.tar\.gz: not the archive .*3"),
        ({"truth": TRUTH[:-1]}, r"ILSVRC2012_img_val\.tar: holds 9 images, ILSVRC2012_devkit_t12\.tar\.gz has labels of 8"),
    ],
)
def test_a_wrong_devkit_is_refused(archives, changes, message):
    write_devkit(archives / "ILSVRC2012_devkit_t12.tar.gz", **changes)
    with pytest.raises(InputError, match=message):
        read_entries(place(archives / "val"), 3)


def test_a_devkit_that_is_missing_or_no_archive_is_refused(archives):
    devkit = archives / "ILSVRC2012_devkit_t12.tar.gz"
    devkit.write_text("<html>log in first</html>")
    with pytest.raises(InputError, match=r"devkit_t12\.tar\.gz: not the archive of image-net\.org"):
        read_entries(place(archives / "val"), 3)
    devkit.unlink()
    with pytest.raises(InputError, match=r"devkit_t12\.tar\.gz: no such file"):
        read_entries(place(archives / "val"), 3)


@pytest.mark.parametrize("name", ["../../escape.JPEG", "notes.txt"])
def test_a_member_of_another_name_is_refused(archives, name):
    write_tar(archives / "ILSVRC2012_img_val.tar", VALIDATION_FILES | {name: b"x"})
    with pytest.raises(InputError, match=rf"ILSVRC2012_img_val\.tar: .*it holds '{name}'"):
        read_entries(place(archives / "val"), 3)


def test_a_link_in_an_archive_is_refused(archives):
    with tarfile.open(archives / "ILSVRC2012_img_val.tar", "w") as archive:
        link = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InputError, match=r"it holds 'ILSVRC2012_val_00000001\.JPEG'"):
        read_entries(place(archives / "val"), 3)


def test_a_compressed_archive_is_refused(archives):
    write_tar(archives / "ILSVRC2012_img_val.tar", VALIDATION_FILES, "w:gz")
    with pytest.raises(InputError, match=r"ILSVRC2012_img_val\.tar: not the archive of image-net\.org"):
        read_entries(place(archives / "val"), 3)


def test_an_archive_that_has_changed_since_it_was_checked_is_refused(archives, tmp_path):
    _, evaluation = written(archives, tmp_path / "manifest.csv")
    cut(archives / "ILSVRC2012_img_val.tar", 3000)
    with pytest.raises(InputError, match=r"ILSVRC2012_val_0000000\d\.JPEG: damaged or no image"):
        [read_image(entry.path, entry.part) for entry in evaluation]


def test_where_nothing_is_the_folder_and_its_archive_are_named(tmp_path):
    with pytest.raises(InputError, match=r"/val: no such folder, and no ILSVRC2012_img_val\.tar next to it"):
        read_entries(place(tmp_path / "val"), 3)


def test_classes_of_one_split_alone_are_named(folders, tmp_path):
    """The counts are equal, and the labels of the other classes would be too."""
    (folders / "train/n01000000").rename(folders / "train/n04000000")
    with pytest.raises(InputError, match=r"train and \S+/val: have images of different classes \(n01000000, n04000000\); add the missing"):
        written(folders, tmp_path / "images.csv")
    assert not (tmp_path / "images.csv").exists()


def test_images_that_are_not_sorted_into_classes_are_refused(folders):
    (folders / "val" / "n01000000").rename(folders / "val" / "cats")
    with pytest.raises(InputError, match=r"/val: has images of 2 classes, dataset\.classes is 3; give it one subfolder per class"):
        read_entries(place(folders / "val"), 3)


def test_scipy_readers_are_imported_only_for_the_development_kit():
    """They take memory, which every command that reads images would hold."""
    program = "import sys, qhyvit.data.imagenet; assert 'scipy.io' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
