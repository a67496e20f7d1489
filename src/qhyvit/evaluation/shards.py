"""Shards of an evaluation: parts of its images, each run by a job of its own. Merged, they are the predictions of one job on all."""

import json
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from qhyvit.errors import InputError
from qhyvit.evaluation.predictions import Predictions
from qhyvit.files import atomic_write, file_sha256
from qhyvit.own_files import require, written_by


def shard_of(images: int, number: int, count: int, batch_size: int) -> range:
    """Return the part ``number``, from 1, of ``count`` consecutive parts of ``images``, whose sizes differ by one batch at most.

    Batches stay whole: the last bits of logits may depend on the other images of the batch. Raises InputError for a number outside
    1..``count``, and for more shards than batches.
    """
    batches = ceil(images / batch_size)
    if count > batches:
        raise InputError(f"evaluation.shards: {count} shards of {batches} batches of {batch_size} images; lower it to at most {batches}")
    if not 1 <= number <= count:
        raise InputError(f"shard {number}: the experiment's evaluation.shards says {count}; give a number of 1 to {count}")
    start, end = (batch_size * (batches * edge // count) for edge in (number - 1, number))
    return range(start, min(end, images))


def save_shard(path: Path, predictions: Predictions, number: int, count: int, inputs: list[Path], preprocessing: dict[str, Any]) -> None:
    """Write the predictions of shard ``number`` of ``count``; the header has the device, the ``preprocessing`` and hashes of the inputs."""
    tensors = {"logits": torch.stack(predictions.logits), "labels": predictions.labels}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=_header(number, count, inputs, preprocessing) | {"device": predictions.device})


def merge_shards(paths: Sequence[Path], inputs: list[Path], preprocessing: dict[str, Any]) -> Predictions:
    """Join the predictions of all shards, in order.

    Raises InputError for a file in the wrong place, of other ``inputs`` or another ``preprocessing``, or no shard.
    """
    if not paths:
        raise InputError("--shard: none is given; give all files that `qhyvit predict` wrote for these networks, in order")
    shards = [_load(path, _header(number, len(paths), inputs, preprocessing)) for number, path in enumerate(paths, start=1)]
    forms = {(len(shard.logits), shard.logits[0].shape[1]) for shard in shards}
    if len(forms) > 1:
        raise InputError(f"{', '.join(map(str, paths))}: have other numbers of networks or classes each; run `qhyvit predict` again")
    logits = [torch.cat(parts) for parts in zip(*(shard.logits for shard in shards), strict=True)]
    devices = sorted({shard.device for shard in shards})
    return Predictions(logits, torch.cat([shard.labels for shard in shards]), ", ".join(devices))


def _load(path: Path, header: dict[str, str]) -> Predictions:
    with written_by(path, "`qhyvit predict`"), safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        if header.items() - metadata.items():
            raise InputError(
                f"{path}: not shard {header['shard']} of these weights, images, quantizers and preprocessing; run `qhyvit predict` again"
            )
        logits, labels = file.get_tensor("logits"), file.get_tensor("labels")
        of_images = logits.ndim == 3 and logits.is_floating_point() and labels.dtype == torch.int64 and labels.shape == logits.shape[1:2]
        require(of_images and logits.numel() > 0, "it does not hold a label and the logits of each image")
        return Predictions(list(logits), labels, metadata["device"])


def _header(number: int, count: int, inputs: list[Path], preprocessing: dict[str, Any]) -> dict[str, str]:
    hashes = json.dumps([file_sha256(path) for path in inputs])
    return {"shard": f"{number} of {count}", "inputs": hashes, "preprocessing": json.dumps(preprocessing, sort_keys=True)}
