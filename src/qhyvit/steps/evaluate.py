"""Step `evaluate`: accuracy on the evaluation images, of the FP32 network or of quantized ones against it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from qhyvit.config import Config, parse_bits
from qhyvit.evaluation.accuracy import mean_kl, signal_to_noise, top_k_correct
from qhyvit.evaluation.shards import merge_shards
from qhyvit.files import atomic_write
from qhyvit.provenance import provenance
from qhyvit.quantizers.serialization import load_quantizers
from qhyvit.steps.predict import inputs, predict_images


def evaluate_fp32(config: Config, model: str, images: Path, output: Path, logits: Path, shards: Sequence[Path] = ()) -> None:
    """Write the FP32 network's result to ``output`` (JSON) and its ``logits`` [N, classes] (safetensors).

    ``images`` is the manifest. The ``shards``, if any, are what `predict_shard` found on all of them; otherwise the network is run here.
    """
    (predictions,), labels = _predictions(config, model, images, [], shards)
    with atomic_write(logits) as temporary:
        save_file({"logits": predictions, "labels": labels}, temporary)
    record = provenance({"weights": config.weights_path(model), "images": images}, {})
    _write_result(output, _describe(config, model, "fp32", "", "w32a32", 0) | _accuracy(predictions, labels) | {"provenance": record})


def evaluate_quantized(
    config: Config, model: str, images: Path, quantized: list[Path], fp32: Path, outputs: list[Path], shards: Sequence[Path] = ()
) -> None:
    """Write the result of each of the ``quantized`` networks to one of ``outputs``.

    ``fp32`` has the logits to compare with; ``images`` and ``shards`` are as for the FP32 network.
    """
    predictions, labels = _predictions(config, model, images, quantized, shards)
    reference = load_file(fp32)["logits"]
    for logits, path, output in zip(predictions, quantized, outputs, strict=True):
        _, record = load_quantizers(path)
        compared = {"kl": mean_kl(reference, logits), "sqnr_db": signal_to_noise(reference, logits)}
        settings, seed = record["settings"], record["calibrated"]["settings"]["seed"]
        description = _describe(config, model, settings["method"], settings["mode"], settings["bits"], seed)
        _write_result(output, description | _accuracy(logits, labels) | compared | {"provenance": record})


def _predictions(config: Config, model: str, images: Path, quantized: list[Path], shards: Sequence[Path]) -> tuple[list[Tensor], Tensor]:
    if shards:
        return merge_shards(shards, inputs(config, model, images, quantized))
    return predict_images(config, model, images, quantized)


def _describe(config: Config, model: str, method: str, mode: str, bits: str, seed: int) -> dict[str, Any]:
    weight_bits, activation_bits = (32, 32) if method == "fp32" else parse_bits(bits)
    return {
        "dataset": config.experiment.dataset.name,
        "model": model,
        "family": config.models[model].family,
        "method": method,
        "mode": mode,
        "w_bits": weight_bits,
        "a_bits": activation_bits,
        "seed": seed,
    }


def _accuracy(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    correct = top_k_correct(logits, labels, 1)
    return {
        "images": len(labels),
        "top1": 100 * float(correct.double().mean()),
        "top5": 100 * float(top_k_correct(logits, labels, 5).double().mean()),
        "correct": "".join(str(int(hit)) for hit in correct),
    }


def _write_result(path: Path, result: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
