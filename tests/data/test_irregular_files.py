"""Inputs that are folders, pipes, devices or links to nothing: one line that names them, and no endless wait."""

import os
from pathlib import Path

import pytest
import torch
from conftest import write_images
from safetensors.torch import save_file
from torch import nn

from qhyvit.calibration.serialization import load_statistics
from qhyvit.config.dataset import Dataset
from qhyvit.data.entries import read_image
from qhyvit.data.imagenet import read_classes
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.manifest import read_manifest, write_manifest
from qhyvit.errors import InputError
from qhyvit.models.checkpoints import convert_checkpoint
from qhyvit.models.recorded_weights import read_pins
from qhyvit.models.zoo import load_weights

FILE, FOLDER = Path("file"), Path("set")
DATASET = Dataset(name="mine", classes=2, calibration=FOLDER, evaluation=FOLDER)
READERS = {
    "weights": lambda path: load_weights(nn.Linear(1, 1), path),
    "checkpoint": lambda path: convert_checkpoint(path, Path("out")),
    "calibration": load_statistics,
    "manifest": lambda path: read_manifest(DATASET, path, "calibration"),
    "image": read_image,
    "pins": read_pins,
}
KINDS = {
    "pipe": (os.mkfifo, "is no regular file, but a pipe, a device or a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no regular file, but a pipe, a device or a socket"),
    "folder": (Path.mkdir, "is a folder, no file"),
    "link to nothing": (lambda path: path.symlink_to("missing"), r"is a link that leads to no file \(No such file or directory\)"),
    "circle of links": (lambda path: path.symlink_to(path.name), r"is a link that leads to no file \(Too many levels of symbolic links\)"),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_input_that_is_no_regular_file_is_refused(reader, kind):
    make, said = KINDS[kind]
    make(FILE)
    with pytest.raises(InputError, match=rf"^file: {said}; give a regular file$"):
        READERS[reader](FILE)


@pytest.mark.parametrize("reader", READERS)
def test_empty_path_is_not_only_shown_as_the_current_folder(reader):
    with pytest.raises(InputError, match=r"^\.: is no file, but an empty path or the current folder; give a regular file$"):
        READERS[reader](Path())


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_are_no_regular_file_are_refused(kind):
    make, said = KINDS[kind]
    FOLDER.mkdir()
    make(FOLDER / "labels.csv")
    with pytest.raises(InputError, match=rf"^set/labels\.csv: {said}; give a regular file$"):
        read_entries(FOLDER, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_listed_image_that_is_no_regular_file_is_named_with_its_line(kind):
    make, said = KINDS[kind]
    write_images(FOLDER, 2, seed=0)
    (FOLDER / "001.png").unlink()
    make(FOLDER / "001.png")
    with pytest.raises(
        InputError, match=rf"^set/001\.png: {said}, but listed in set/labels\.csv \(line 3\); put an image there, or delete"
    ):
        read_entries(FOLDER, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_image_of_a_class_that_is_no_regular_file_is_refused_before_it_is_hashed(kind):
    make, said = KINDS[kind]
    for name in ("cat", "dog"):
        (FOLDER / name).mkdir(parents=True)
        make(FOLDER / name / "000.png")
    with pytest.raises(InputError, match=rf"^set/cat/000\.png: {said}; give a regular file$"):
        write_manifest(DATASET, FILE, Path("stamps.csv"))


def test_archive_that_is_a_pipe_is_refused():
    os.mkfifo("ILSVRC2012_img_train.tar")
    with pytest.raises(InputError, match=r"^ILSVRC2012_img_train\.tar: is no regular file, but a pipe, a device or a socket; give"):
        read_classes(Path("ILSVRC2012_img_train.tar"), 2)


def test_link_to_weights_is_followed():
    network = nn.Linear(1, 1)
    save_file({name: torch.ones_like(tensor) for name, tensor in network.state_dict().items()}, "stored")
    FILE.symlink_to("stored")
    load_weights(network, FILE)
    assert network.weight.item() == 1
