"""Logits of the FP32 network or of quantized networks on the evaluation images of an experiment, on all of them or on one shard."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from qhyvit.config.loading import Config
from qhyvit.data.decoded import Batches, decode
from qhyvit.data.entries import Entry
from qhyvit.data.manifest import read_manifest
from qhyvit.device import choose_device
from qhyvit.errors import InputError
from qhyvit.evaluation.predict import predict
from qhyvit.evaluation.predictions import Predictions
from qhyvit.evaluation.shards import shard_of
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.loading import load_model
from qhyvit.models.recorded_weights import require_calibrated
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.serialization import load_parameters, load_quantizers

BATCH_SIZE = 25


def predict_images(config: Config, model: str, images: Path, quantized: list[Path], shard: int | None = None) -> Predictions:
    """Run ``model`` with the quantizers of each file in ``quantized``, or the FP32 network if there is none.

    ``images`` is the manifest; ``shard`` is the number of a shard, from 1, None for all evaluation images. Raises InputError for quantizers
    of another model, of other weights or of another calibration, and for logits that are not finite.
    """
    device = choose_device(config.experiment.device)
    found = [(path, _load(config, model, path, device, images)) for path in quantized]
    loaded = load_model(config, model, device)
    traced = loaded.traced
    _check_sites(found, traced, model)
    networks = [traced.with_parameters(load_parameters(path, device)).with_quantizers(quantizers) for path, quantizers in found] or [
        traced.graph_module
    ]
    entries = read_manifest(config.experiment.dataset, images, "evaluation")
    part = range(len(entries)) if shard is None else shard_of(len(entries), shard, config.experiment.evaluation.shards, BATCH_SIZE)
    decoded = decode(entries, loaded.transform, config.experiment.decoded)
    logits, labels = predict(networks, Batches(decoded, BATCH_SIZE, part, device))
    for name, values in zip([str(path) for path in quantized] or ["FP32"], logits, strict=True):
        _check_finite(values, f"{model}, {name}", entries[part.start : part.stop])
    return Predictions(logits, labels, device)


def _load(config: Config, model: str, path: Path, device: str, images: Path) -> Quantizers:
    quantizers, record = load_quantizers(path, device)
    require_calibrated(config, model, record.get("calibrated", {}), path, images)
    return quantizers


def _check_sites(quantized: Sequence[tuple[Path, Quantizers]], traced: TracedModel, model: str) -> None:
    names = {site.name for site in traced.sites} | {site.name for site in traced.output_sites}
    for path, quantizers in quantized:
        if not quantizers.keys() <= names:
            raise InputError(f"{path}: its sites are not those of {model}; give quantizers of this model")


def _check_finite(logits: Tensor, network: str, entries: list[Entry]) -> None:
    """Raise InputError if a row of ``logits`` [N, classes] of the images ``entries`` is not finite: no accuracy may be measured by it."""
    faulty = (~logits.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if faulty:
        raise InputError(
            f"{network}: the logits of {len(faulty)} of {len(entries)} images are not finite, first of {entries[faulty[0]].path}; check"
            " the weights and the scales of the quantizers, or leave this run out of the experiment"
        )


def input_files(config: Config, model: str, images: Path, quantized: list[Path]) -> list[Path]:
    """List the files that the logits depend on."""
    return [config.weights_path(model), images, *quantized]
