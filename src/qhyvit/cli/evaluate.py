"""Command `evaluate`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.config.base import parse_bits
from qhyvit.config.loading import Config
from qhyvit.errors import InputError
from qhyvit.evaluation.evaluation_set import input_files, predict_images
from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.evaluation.predictions import Predictions, read_reference, save_reference
from qhyvit.evaluation.published_accuracy import check_published_accuracy
from qhyvit.evaluation.shards import merge_shards
from qhyvit.files import atomic_write
from qhyvit.own_files import written_by
from qhyvit.provenance import Provenance, provenance
from qhyvit.quantizers.serialization import load_quantizers


def evaluate(
    config: options.Config,
    model: options.Model,
    images: options.Images,
    output: Annotated[list[Path], options.Written(), typer.Option(help="JSON file to write; one per --quantized, in the same order.")],
    logits: Annotated[
        Path,
        options.Written(read_with="quantized"),
        typer.Option(help="Logits of the FP32 network: written without --quantized, read with it."),
    ],
    quantized: options.Quantized = None,
    shard: Annotated[
        list[Path] | None,
        typer.Option(help="File written by `qhyvit predict`; give all shards in order. Without it the networks are run here."),
    ] = None,
    threads: options.Threads = 1,
) -> None:
    """Measure the accuracy on the evaluation images, and the distance of quantized networks from the FP32 network.

    It refuses logits that are not finite and, on ImageNet's whole validation set, an FP32 network without its published accuracy.
    """
    torch.set_num_threads(threads)
    networks = quantized or []
    if len(output) != len(networks or [None]):
        raise InputError(f"{len(output)} --output for {len(networks)} --quantized; give one for each")
    settings = load_experiment(config, model)
    predictions = _predict(settings, model, images, networks, shard or [])
    inputs = {"weights": settings.weights_path(model), "images": images}
    preprocessing, reference_inputs = settings.experiment.dataset.preprocessing, input_files(settings, model, images, [])
    evaluated = provenance(inputs, {"preprocessing": preprocessing}, predictions.device)
    if networks:
        reference = read_reference(logits, predictions.logits[0], predictions.labels, reference_inputs, preprocessing)
        for path, target, found in zip(networks, output, predictions.logits, strict=True):
            run, record = _quantized_run(settings, model, path)
            measured = _accuracy(found, predictions.labels) | {"kl": mean_kl(reference, found)}
            _write(target, run | measured | {"provenance": record, "evaluated": evaluated})
        return
    measured = _accuracy(predictions.logits[0], predictions.labels)
    published = settings.models[model].published
    if published and published.top1 and settings.experiment.dataset.is_whole_imagenet(measured["images"]):
        check_published_accuracy(model, measured["top1"], published.top1, measured["images"])
    save_reference(logits, predictions, reference_inputs, preprocessing)
    run = _describe(settings, model, "fp32", "", (32, 32), 0)
    _write(output[0], run | measured | {"provenance": evaluated})


def _predict(settings: Config, model: str, images: Path, networks: list[Path], shards: Sequence[Path]) -> Predictions:
    if shards:
        return merge_shards(shards, input_files(settings, model, images, networks), settings.experiment.dataset.preprocessing)
    return predict_images(settings, model, images, networks)


def _quantized_run(settings: Config, model: str, path: Path) -> tuple[dict[str, Any], Provenance]:
    """Return the run that wrote the quantizers in ``path``, and its provenance."""
    _, record = load_quantizers(path)
    with written_by(path, "`qhyvit quantize`"):
        method, seed = record["settings"], record["calibrated"]["settings"]["seed"]
        return _describe(settings, model, method["method"], method["mode"], parse_bits(method["bits"]), seed), record


def _describe(settings: Config, model: str, method: str, mode: str, bits: tuple[int, int], seed: int) -> dict[str, Any]:
    return {
        "dataset": settings.experiment.dataset.name,
        "model": model,
        "family": settings.models[model].family,
        "method": method,
        "mode": mode,
        "w_bits": bits[0],
        "a_bits": bits[1],
        "seed": seed,
    }


def _accuracy(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    correct = top1_correct(logits, labels)
    return {
        "images": len(labels),
        "top1": 100 * float(correct.double().mean()),
        "correct": "".join(str(int(hit)) for hit in correct),
    }


def _write(path: Path, result: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
