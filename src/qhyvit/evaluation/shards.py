"""Shards of an evaluation: parts of its images that jobs of their own run the networks over, merged to what one job would have found."""

import json
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qhyvit.data.entries import Entry
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.provenance import file_sha256


def shard_of(entries: list[Entry], number: int, count: int, batch_size: int) -> list[Entry]:
    """The part ``number``, from 1, of ``count`` that follow each other and differ by a batch at most.

    Batches stay whole: the rounding of an image's logits may depend on the images beside it. Raises InputError for a number outside
    1..``count``, and for more shards than batches.
    """
    batches = ceil(len(entries) / batch_size)
    if count > batches:
        raise InputError(f"evaluation.shards: {count} shards of {batches} batches of {batch_size} images; {batches} is the most")
    if not 1 <= number <= count:
        raise InputError(f"shard {number}: the experiment's evaluation.shards says {count}; give a number of 1 to {count}")
    start, end = (batch_size * (batches * edge // count) for edge in (number - 1, number))
    return entries[start:end]


def save_shard(path: Path, logits: list[Tensor], labels: Tensor, number: int, count: int, inputs: list[Path]) -> None:
    """Write the ``logits`` [N, classes] of each network and ``labels`` [N]; the header says which shard of which ``inputs`` they are."""
    with atomic_write(path) as temporary:
        save_file({"logits": torch.stack(logits), "labels": labels}, temporary, metadata=_header(number, count, inputs))


def merge_shards(paths: Sequence[Path], inputs: list[Path]) -> tuple[list[Tensor], Tensor]:
    """Logits [N, classes] of each network and labels [N] over all images, from all shards in order.

    Raises InputError for a file in the wrong place or of other ``inputs``.
    """
    logits, labels = [], []
    for number, path in enumerate(paths, start=1):
        with safe_open(path, framework="pt") as file:
            if file.metadata() != _header(number, len(paths), inputs):
                raise InputError(f"{path}: not shard {number} of {len(paths)} of these weights, images and quantizers; predict it anew")
            logits.append(file.get_tensor("logits"))
            labels.append(file.get_tensor("labels"))
    return list(torch.cat(logits, dim=1)), torch.cat(labels)


def _header(number: int, count: int, inputs: list[Path]) -> dict[str, str]:
    return {"shard": f"{number} of {count}", "inputs": json.dumps([file_sha256(path) for path in inputs])}
