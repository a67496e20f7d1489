"""Step `predict`: the logits of the FP32 network or of quantized ones on the evaluation images, all of them or a shard."""

from pathlib import Path

from torch import Tensor

from qhyvit.config import Config
from qhyvit.data.labelled_folder import LabelledImages
from qhyvit.data.manifest import read_manifest
from qhyvit.device import choose_device
from qhyvit.evaluation.accuracy import predict
from qhyvit.evaluation.shards import save_shard, shard_of
from qhyvit.models.loading import load_model
from qhyvit.quantizers.serialization import load_quantizers

BATCH_SIZE = 25


def predict_shard(config: Config, model: str, images: Path, quantized: list[Path], shard: int, output: Path) -> None:
    """Write to ``output`` what `predict_images` finds on a ``shard``, counted from 1, of as many as the experiment says."""
    logits, labels = predict_images(config, model, images, quantized, shard)
    save_shard(output, logits, labels, shard, config.experiment.evaluation.shards, inputs(config, model, images, quantized))


def predict_images(
    config: Config, model: str, images: Path, quantized: list[Path], shard: int | None = None
) -> tuple[list[Tensor], Tensor]:
    """Logits [N, classes] of each of the ``quantized`` networks, or else of the FP32 network alone, and labels [N].

    They are of the evaluation images of the manifest ``images``, or of those of one ``shard``.
    """
    device = choose_device(config.experiment.device)
    network = load_model(config, model, device)
    networks = [network.traced.with_quantizers(load_quantizers(path, device)[0]) for path in quantized] or [network.traced.graph_module]
    entries = read_manifest(config.experiment.dataset, images, "evaluation")
    if shard is not None:
        entries = shard_of(entries, shard, config.experiment.evaluation.shards, BATCH_SIZE)
    return predict(networks, LabelledImages(entries, network.transform), BATCH_SIZE, device)


def inputs(config: Config, model: str, images: Path, quantized: list[Path]) -> list[Path]:
    """The files that the logits depend on."""
    return [config.weights_path(model), images, *quantized]
