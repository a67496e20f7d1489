"""Weights that DVC does not track: download them, check that they are what the hub has, and pin their hash."""

import re
import shutil
from pathlib import Path

import timm
import yaml
from huggingface_hub import hf_hub_download

from qhyvit.config.models import HubSource
from qhyvit.data.locks import locked
from qhyvit.errors import InputError
from qhyvit.files import atomic_write, file_sha256
from qhyvit.models.recorded_weights import read_pins


def download(source: HubSource, path: Path) -> None:
    """Copy `model.safetensors` of a hub repository to ``path``. Raises InputError if that fails, or if it is not what the hub has."""
    cached = _cached(source.hub, str(path))
    with atomic_write(path) as temporary:
        shutil.copyfile(cached, temporary)


def check_published(constructor: str) -> None:
    """Download the weights that timm publishes for ``constructor`` to the hub's cache, where timm reads them, and check their hash.

    Raises InputError if that fails, if they are not what the hub has, and for weights that are not on the hub as safetensors.
    """
    published = timm.get_pretrained_cfg(constructor, allow_unregistered=True)
    if published is None or not published.hf_hub_id:
        raise InputError(f"{constructor}: timm publishes no weights on the hub, whose hash could be checked; give a file of weights")
    _cached(published.hf_hub_id, constructor)


def _cached(hub: str, wanted: str) -> Path:
    """Download `model.safetensors` of a hub repository to the hub's cache, and return its path there; messages begin with ``wanted``."""
    try:
        cached = hf_hub_download(hub, "model.safetensors")
    except Exception as error:  # of any kind: the client does not catch those of its HTTP library
        said = " ".join(str(error).split())
        raise InputError(
            f"{wanted}: {hub} could not be downloaded ({said}); check the network connection, or provide the file of weights"
        ) from error
    blob = Path(cached).resolve()  # in the hub's cache, its name is the sha256 that the hub states; the client compares sizes alone
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and file_sha256(blob) != blob.name:
        raise InputError(
            f"{wanted}: {hub} was downloaded to {blob} with another sha256 than its name states; remove that file, and try again"
        )
    return blob


def pin_hash(path: Path, configured: Path, lock: Path) -> None:
    """Record the sha256 of ``path`` in the YAML file ``lock``, under its ``configured`` path, unless one is recorded already.

    Raises InputError if the recorded hash is different, and if the folder of ``lock`` cannot be written.
    """
    found = file_sha256(path)
    with locked(lock.with_suffix(".guard")):
        hashes = read_pins(lock)
        recorded = hashes.setdefault(str(configured), found)
        if recorded != found:
            raise InputError(f"{path}: sha256 {found} is not {recorded}, which {lock} recorded; restore the file or delete its line there")
        with atomic_write(lock) as temporary:
            temporary.write_text(yaml.safe_dump(hashes))
