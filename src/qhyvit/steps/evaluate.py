"""Step `evaluate`: accuracy on the evaluation images, of the FP32 network or of quantized ones against it."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.fx import GraphModule

from qhyvit.config import Config, parse_bits
from qhyvit.data.folder import LabelledImages
from qhyvit.data.manifest import read_manifest
from qhyvit.device import choose_device
from qhyvit.evaluation.accuracy import mean_kl, predict, signal_to_noise, top_k_correct
from qhyvit.files import written_whole
from qhyvit.graph.insert import insert_quantizers
from qhyvit.graph.sites import find_sites
from qhyvit.graph.tensors import find_tensors
from qhyvit.network import Network, load_network
from qhyvit.provenance import provenance
from qhyvit.quantizers.store import Quantizers, load_quantizers

BATCH_SIZE = 25


def evaluate_fp32(config: Config, model: str, images: Path, output: Path, logits: Path) -> None:
    """Write the FP32 network's result to ``output`` (JSON) and its ``logits`` [N, classes] (safetensors); ``images`` is the manifest."""
    device = choose_device(config.experiment.device)
    network = load_network(config, model, device)
    (predictions,), labels = predict([network.graph_module], _evaluation_images(config, network, images), BATCH_SIZE, device)
    with written_whole(logits) as temporary:
        save_file({"logits": predictions, "labels": labels}, temporary)
    record = provenance({"weights": config.weights_path(model), "images": images}, {})
    _write_result(output, _describe(config, model, "fp32", "", "w32a32", 0) | _accuracy(predictions, labels) | {"provenance": record})


def evaluate_quantized(config: Config, model: str, images: Path, quantized: list[Path], fp32: Path, outputs: list[Path]) -> None:
    """Write the result of each of the ``quantized`` networks to one of ``outputs``.

    ``images`` is the manifest, ``fp32`` has the logits to compare with.
    """
    device = choose_device(config.experiment.device)
    network = load_network(config, model, device)
    loaded = [load_quantizers(path, device) for path in quantized]
    networks = [_quantized(network, quantizers) for quantizers, _ in loaded]
    predictions, labels = predict(networks, _evaluation_images(config, network, images), BATCH_SIZE, device)
    reference = load_file(fp32)["logits"]
    for logits, (_, record), output in zip(predictions, loaded, outputs, strict=True):
        compared = {"kl": mean_kl(reference, logits), "sqnr_db": signal_to_noise(reference, logits)}
        settings, seed = record["settings"], record["calibrated"]["settings"]["seed"]
        description = _describe(config, model, settings["method"], settings["mode"], settings["bits"], seed)
        _write_result(output, description | _accuracy(logits, labels) | compared | {"provenance": record})


def _quantized(network: Network, quantizers: Quantizers) -> GraphModule:
    copy = deepcopy(network.graph_module)
    insert_quantizers(copy, [*find_sites(copy), *find_tensors(copy)], quantizers)
    return copy


def _evaluation_images(config: Config, network: Network, manifest: Path) -> LabelledImages:
    return LabelledImages(read_manifest(config.experiment.dataset, manifest, "evaluation"), network.transform)


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
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
