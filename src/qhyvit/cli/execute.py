"""Command `execute`."""

import json
from collections.abc import Iterable
from dataclasses import fields
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
from qhyvit.config.deployment import ENGINES, PEER_BITS, PEER_FORMATS, SUFFIXES
from qhyvit.config.loading import Config
from qhyvit.data.decoded import Batches, DecodedImages, decode
from qhyvit.data.labelled_images import Transform
from qhyvit.data.manifest import read_manifest
from qhyvit.deploy.engines import Engine, load_engine
from qhyvit.deploy.verification import SiteCheck
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
from qhyvit.own_files import require, written_by
from qhyvit.provenance import Provenance, provenance
from qhyvit.quantizers.base import Quantizers
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
    output: Annotated[Path, options.Written(), typer.Option(help="JSON file to write.")],
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
    if method in PEER_FORMATS and (bits, exported.suffix) != (PEER_BITS, SUFFIXES[PEER_FORMATS[method]]):
        raise InputError(
            f"{exported}: {method} writes {SUFFIXES[PEER_FORMATS[method]]} files of {PEER_BITS} alone; give its file and --bits"
        )
    settings = load_experiment(config, model, None if method in PEER_FORMATS else method)
    require_pinned(settings, model)
    weight_bits, activation_bits = parse_bits(bits)
    quantizers: Quantizers = {}
    site_difference = None
    if simulated is not None and checks is not None:
        quantizers, record = load_quantizers(simulated)
        require_calibrated(settings, model, record.get("calibrated", {}), simulated, images)
        _require_run(record, simulated, method, (weight_bits, activation_bits), seed)
        site_difference = _site_difference(checks, quantizers, simulated)
    engine = load_engine(exported, threads=1)
    name = ENGINES[exported.suffix]
    preprocessing = settings.experiment.dataset.preprocessing
    found, labels = _run(settings, model, engine, images)
    reference = read_reference(logits, found, labels, input_files(settings, model, images, []), preprocessing)
    correct = top1_correct(found, labels)
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
    if simulated is not None:
        inputs = input_files(settings, model, images, quantized or [])
        expected = merge_shards(shard or [], inputs, preprocessing).logits[(quantized or []).index(simulated)]
        disturbed = _run_disturbed(settings, model, simulated, quantizers, images)
        noise = agreement(expected[: len(disturbed)], disturbed)
        result |= {"site_difference": site_difference}
        result |= agreement(expected, found) | {f"noise_{name}": noise[name] for name in ("agreement", "median_difference")}
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")


def _require_run(record: Provenance, path: Path, method: str, bits: tuple[int, int], seed: int) -> None:
    """Raise InputError if the quantizers with ``record``, from ``path``, are of another run, or not in mode partial."""
    with written_by(path, "`qhyvit quantize`"):
        run, own_seed = record["settings"], record["calibrated"]["settings"]["seed"]
        own = {"method": run["method"], "mode": run["mode"], "bits": parse_bits(run["bits"]), "seed": own_seed}
    stated = {"method": method, "mode": "partial", "bits": bits, "seed": seed}
    for name, value in own.items():
        if value != stated[name]:
            raise InputError(f"{path}: has {name} {_shown(value)}, not {_shown(stated[name])}; give the quantizers of the exported run")


def _shown(value: object) -> str:
    return f"w{value[0]}a{value[1]}" if isinstance(value, tuple) else str(value)


def _site_difference(checks: Path, sites: Iterable[str], simulated: Path) -> float:
    """Return the largest difference of a site in ``checks``. Raises InputError unless its sites are among those of ``simulated``."""
    with written_by(checks, "`qhyvit export --checks`"):
        table = pd.read_csv(checks)
        require(list(table.columns) == [field.name for field in fields(SiteCheck)] and len(table) > 0, "it has no checks of sites")
        differences = table.difference.astype(float)
        require(bool(differences.between(0, float("inf"), inclusive="left").all()), "it has differences that are no numbers")
    if other := sorted(set(table.site) - set(sites)):
        raise InputError(f"{checks}: its site {other[0]} is none of {simulated}; give the checks of the export of that file")
    return float(differences.max())


def _run_disturbed(settings: Config, model: str, quantized: Path, quantizers: Quantizers, images: Path) -> Tensor:
    """Return the logits of the disturbed simulation of the first evaluation images."""
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
