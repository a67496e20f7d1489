"""Command `execute`."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.config.base import parse_bits
from qhyvit.config.deployment import ENGINES
from qhyvit.config.loading import Config
from qhyvit.data.decoded import Batches, DecodedImages, decode
from qhyvit.data.labelled_images import Transform
from qhyvit.data.manifest import read_manifest
from qhyvit.deploy.engines import Engine, load_engine
from qhyvit.errors import InputError
from qhyvit.evaluation.agreement import agreement
from qhyvit.evaluation.evaluation_set import BATCH_SIZE, input_files
from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.evaluation.predict import predict
from qhyvit.evaluation.predictions import read_reference
from qhyvit.evaluation.rounding_noise import DisturbedSimulation
from qhyvit.evaluation.shards import merge_shards
from qhyvit.files import atomic_write
from qhyvit.models.loading import load_model
from qhyvit.models.recorded_weights import require_calibrated, require_pinned
from qhyvit.models.zoo import build, make_transform
from qhyvit.own_files import written_by
from qhyvit.provenance import provenance
from qhyvit.quantizers.serialization import load_parameters, load_quantizers

DISTURBED_IMAGES = 500


def execute(
    config: options.Config,
    model: options.Model,
    method: Annotated[str, typer.Option(help="Method or peer that made the file.")],
    bits: options.Bits,
    seed: options.Seed,
    images: options.Images,
    exported: Annotated[Path, typer.Option(help="File written by `qhyvit export` or `qhyvit peer`.")],
    logits: Annotated[Path, typer.Option(help="Logits of the FP32 network, written by `qhyvit evaluate`.")],
    output: Annotated[Path, typer.Option(help="JSON file to write.")],
    simulated: Annotated[Path | None, typer.Option(help="One of --quantized: the file that was exported.")] = None,
    checks: Annotated[Path | None, typer.Option(help="File written by `qhyvit export --checks`; needed with --simulated.")] = None,
    quantized: options.Quantized = None,
    shard: Annotated[
        list[Path] | None,
        typer.Option(help="File written by `qhyvit predict` for all --quantized; give all shards in order."),
    ] = None,
) -> None:
    """Measure an exported model, run by its engine: accuracy, size, share of int8 kernels, agreement with the simulation."""
    torch.set_num_threads(1)
    if (simulated is None) != (checks is None) or simulated not in (None, *(quantized or [])):
        raise InputError("--simulated needs --checks, and has to be one of --quantized; give all three or none")
    settings = load_experiment(config, model)
    require_pinned(settings, model)
    engine = load_engine(exported, threads=1)
    name = ENGINES[exported.suffix]
    preprocessing = settings.experiment.dataset.preprocessing
    found, labels = _run(settings, model, engine, images)
    reference = read_reference(logits, found, labels, input_files(settings, model, images, []), preprocessing)
    correct = top1_correct(found, labels)
    weight_bits, activation_bits = parse_bits(bits)
    result = {
        "dataset": settings.experiment.dataset.name,
        "model": model,
        "family": settings.models[model].family,
        "method": method,
        "mode": "partial",
        "w_bits": weight_bits,
        "a_bits": activation_bits,
        "seed": seed,
        "images": len(labels),
        "top1": 100 * float(correct.double().mean()),
        "correct": "".join(str(int(hit)) for hit in correct),
        "kl": mean_kl(reference, found),
        "engine": name,
        "int8_share": 100 * engine.int8_share(),
        "size": engine.size,
        "provenance": provenance(
            {"exported": exported, "weights": settings.weights_path(model), "images": images},
            {"engine": f"{name} {version(name)}"},
        ),
    }
    if simulated is not None and checks is not None:
        inputs = input_files(settings, model, images, quantized or [])
        expected = merge_shards(shard or [], inputs, preprocessing).logits[(quantized or []).index(simulated)]
        disturbed = _run_disturbed(settings, model, simulated, images)
        noise = agreement(expected[: len(disturbed)], disturbed)
        with written_by(checks, "`qhyvit export`"):
            result["site_difference"] = float(pd.read_csv(checks).difference.max())
        result |= agreement(expected, found) | {f"noise_{name}": noise[name] for name in ("agreement", "median_difference")}
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")


def _run_disturbed(settings: Config, model: str, quantized: Path, images: Path) -> Tensor:
    """Return the logits of the disturbed simulation of the first evaluation images."""
    quantizers, record = load_quantizers(quantized)
    require_calibrated(settings, model, record.get("calibrated", {}), quantized)
    loaded = load_model(settings, model)
    decoded = _decoded(settings, images, loaded.transform)
    simulation = DisturbedSimulation(loaded.traced.with_parameters(load_parameters(quantized)), quantizers)
    (logits,), _ = predict([simulation], Batches(decoded, BATCH_SIZE, range(len(decoded.labels))[:DISTURBED_IMAGES]))
    return logits


def _run(settings: Config, model: str, engine: Engine, images: Path) -> tuple[Tensor, Tensor]:
    """Return the logits [N, classes] and labels [N] of the evaluation images. Raises InputError for logits that are not finite."""
    dataset = settings.experiment.dataset
    transform = make_transform(build(settings.models[model], dataset.classes, dataset.input_size), dataset)
    decoded = _decoded(settings, images, transform)
    evaluated = Batches(decoded, BATCH_SIZE, range(len(decoded.labels)))
    logits = torch.cat([engine.logits(batch.contiguous()) for batch, _ in evaluated])
    if not bool(logits.isfinite().all()):
        raise InputError(f"{engine.path}: computes logits that are not finite; leave this run out of the experiment")
    return logits, decoded.labels


def _decoded(settings: Config, images: Path, transform: Transform) -> DecodedImages:
    return decode(read_manifest(settings.experiment.dataset, images, "evaluation"), transform, settings.experiment.decoded)
