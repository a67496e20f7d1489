"""Images that are decoded once, in a file that all jobs share."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_images
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad
from torchvision.transforms import Compose, ToTensor

from qhyvit.data import decoded
from qhyvit.data.decoded import Batches, decode
from qhyvit.data.entries import pixel_hash, read_image
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.labelled_images import LabelledImages
from qhyvit.errors import InputError

SIDE = 12
TRANSFORM = create_transform((3, SIDE, SIDE), crop_pct=0.8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


@pytest.fixture
def entries(tmp_path):
    """Seven checked images of 16 x 16 pixels."""
    write_images(tmp_path / "images", 7, seed=0)
    found = read_entries(tmp_path / "images", 2)
    return [type(entry)(entry.path, entry.label, pixel_hash(read_image(entry.path))) for entry in found]


@pytest.mark.parametrize("at_once", [2, 1024])
def test_batches_are_those_of_the_transform_bit_for_bit(entries, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(decoded, "AT_ONCE", at_once)
    expected = torch.stack([image for image, _ in LabelledImages(entries, TRANSFORM)])
    batches = Batches(decode(entries, TRANSFORM, tmp_path), 3, range(len(entries)))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    assert len(batches) == 3
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), expected)
    assert torch.cat([labels for _, labels in batches]).tolist() == [entry.label for entry in entries]
    (inputs, labels), *others = Batches(decode(entries, TRANSFORM, tmp_path), 3, range(4, 6))
    assert others == []
    assert torch.equal(inputs, expected[4:6])
    assert labels.tolist() == [entry.label for entry in entries[4:6]]


def test_file_is_made_once_for_each_geometry(entries, tmp_path, capsys):
    first = decode(entries, TRANSFORM, tmp_path)
    said = capsys.readouterr().out
    assert said == f"{first.path}: 7 images of {SIDE} x {SIDE} pixels are decoded for all jobs, 0 MB\n"
    shutil.rmtree(entries[0].path.parent)
    same_geometry = create_transform((3, SIDE, SIDE), crop_pct=0.8, mean=(0, 0, 0), std=(1, 1, 1))
    assert decode(entries, same_geometry, tmp_path).path == first.path
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"\.png: "):
        decode(entries, create_transform((3, SIDE, SIDE), crop_pct=1.0), tmp_path)


def test_another_pillow_decodes_anew(entries, tmp_path, monkeypatch):
    path = decode(entries, TRANSFORM, tmp_path).path
    monkeypatch.setattr(decoded.PIL, "__version__", "0")
    assert decode(entries, TRANSFORM, tmp_path).path != path


def test_image_that_was_changed_after_the_check_is_not_decoded(entries, tmp_path):
    shutil.copy(entries[1].path, entries[0].path)
    with pytest.raises(InputError, match=r"000\.png: has changed since `qhyvit fetch images` checked it"):
        decode(entries, TRANSFORM, tmp_path / "decoded")
    assert [path.suffix for path in (tmp_path / "decoded").iterdir()] == [".lock"]


def edit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def replace_with_other_images(path):
    table = pd.read_csv(path.with_suffix(".csv"))
    table.iloc[::-1].to_csv(path.with_suffix(".csv"), index=False)
    np.save(path, np.load(path)[::-1])


def remove_table(path):
    path.with_suffix(".csv").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit, r"image 6 has changed since it was decoded; delete the file, and it is made again"),
        (cut, r"not as it was written \(ValueError: .*\); delete it, and it is made again"),
        (replace_with_other_images, r"made from other images; delete it and the table next to it, and they are made again"),
        (
            remove_table,
            r"not as it was written \(FileNotFoundError: .*\); delete it, and it is made again",
        ),
    ],
    ids=["edited", "truncated", "other-images", "no-table"],
)
def test_damaged_file_is_refused(entries, tmp_path, damage, message):
    path = decode(entries, TRANSFORM, tmp_path).path
    damage(path)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: {message}$"):
        list(Batches(decode(entries, TRANSFORM, tmp_path), 3, range(7)))
    path.unlink()
    assert len(list(Batches(decode(entries, TRANSFORM, tmp_path), 3, range(7)))) == 3


def test_folder_that_cannot_be_made_is_named(entries, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"file/decoded: no folder in which files can be made \(Not a directory\); give another, or make it"
    ):
        decode(entries, TRANSFORM, tmp_path / "file/decoded")


def test_disk_without_room_is_refused_before_anything_is_written(entries, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage(2_000))
    with pytest.raises(InputError, match=r"0 MB are needed for decoded images, 0 MB are free; state another `decoded`"):
        decode(entries, TRANSFORM, tmp_path / "decoded")
    assert [path.suffix for path in (tmp_path / "decoded").iterdir()] == [".lock"]


def test_disk_that_fills_up_leaves_no_file(entries, tmp_path, monkeypatch):
    def write_until_full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoded, "_hash", write_until_full)
    with pytest.raises(InputError, match=r"\.npy: cannot be written \(No space left on device\); free space there, or give another folder"):
        decode(entries, TRANSFORM, tmp_path / "decoded")
    assert [path.suffix for path in (tmp_path / "decoded").iterdir()] == [".lock"]


DECODE_SLOWLY = """
import sys, time
from pathlib import Path
import qhyvit.models  # before torchvision
from torchvision.transforms import Compose, ToTensor
from qhyvit.data import decoded
from qhyvit.data.labelled_folder import read_entries

class Slow:
    def __call__(self, image):
        (folder / "started").touch()
        time.sleep(40)
        return image
    def __repr__(self):
        return "Slow"

folder = Path(sys.argv[1])
decoded._cores = lambda: 2
decoded.decode(read_entries(folder / "images", 2), Compose([Slow(), ToTensor()]), folder / "decoded")
"""


def wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    """Tell if a process is there and no zombie, which nobody may have awaited."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_parent_that_is_killed(entries, tmp_path, signal_number):
    assert len(entries) > 0
    parent = subprocess.Popen([sys.executable, "-c", DECODE_SLOWLY, str(tmp_path)])
    try:
        wait_until((tmp_path / "started").exists)
        workers = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    finally:
        os.kill(parent.pid, signal_number)
        parent.wait()
    assert len(workers) > 0
    wait_until(lambda: not any(map(is_running, workers)))


def test_temporary_files_of_a_killed_process_are_removed(entries, tmp_path):
    path = decode(entries, TRANSFORM, tmp_path).path
    path.unlink()
    for name in (f".{path.name}.123.tmp", f".{path.stem}.csv.123.tmp", ".other.npy.123.tmp"):
        (tmp_path / name).touch()
    assert decode(entries, TRANSFORM, tmp_path).path == path
    assert [left.name for left in tmp_path.glob(".*.tmp")] == [".other.npy.123.tmp"]


def test_each_fill_of_a_padding_has_a_file_of_its_own(entries, tmp_path):
    for fill in (10, 200):
        transform = Compose([CenterCropOrPad(20, fill), ToTensor()])
        expected = torch.stack([image for image, _ in LabelledImages(entries, transform)])
        batches = Batches(decode(entries, transform, tmp_path), len(entries), range(len(entries)))
        assert torch.equal(next(iter(batches))[0], expected)
