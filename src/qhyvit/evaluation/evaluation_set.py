"""Logits of the FP32 network or of quantized networks on the evaluation images of an experiment, on all of them or on one shard."""

from pathlib import Path

from qhyvit.config.loading import Config
from qhyvit.data.entries import LabelledImages
from qhyvit.data.manifest import read_manifest
from qhyvit.device import choose_device
from qhyvit.evaluation.predict import predict
from qhyvit.evaluation.predictions import Predictions
from qhyvit.evaluation.shards import shard_of
from qhyvit.models.loading import load_model
from qhyvit.quantizers.serialization import load_quantizers

BATCH_SIZE = 25


def predict_images(config: Config, model: str, images: Path, quantized: list[Path], shard: int | None = None) -> Predictions:
    """Run ``model`` with the quantizers of each file in ``quantized``, or the FP32 network if there is none.

    ``images`` is the manifest; ``shard`` is the number of a shard, from 1, None for all evaluation images.
    """
    device = choose_device(config.experiment.device)
    loaded = load_model(config, model, device)
    traced = loaded.traced
    networks = [traced.with_quantizers(load_quantizers(path, device)[0]) for path in quantized] or [traced.graph_module]
    entries = read_manifest(config.experiment.dataset, images, "evaluation")
    if shard is not None:
        entries = shard_of(entries, shard, config.experiment.evaluation.shards, BATCH_SIZE)
    return Predictions(*predict(networks, LabelledImages(entries, loaded.transform), BATCH_SIZE, device), device)


def input_files(config: Config, model: str, images: Path, quantized: list[Path]) -> list[Path]:
    """List the files that the logits depend on."""
    return [config.weights_path(model), images, *quantized]
