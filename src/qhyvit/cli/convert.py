"""Command `convert`."""

import warnings
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor, nn

from qhyvit.api.calibration import calibrate
from qhyvit.api.images import describe_transform, read_images, transform_of
from qhyvit.api.module import example
from qhyvit.api.quantization import quantize
from qhyvit.api.quantized_model import QuantizedModel
from qhyvit.cli import options
from qhyvit.cli.inspect import MODELS_FILE
from qhyvit.config.base import LARGEST_SIDE, parse_bits
from qhyvit.config.loading import read_yaml
from qhyvit.config.models import MODELS, find_model
from qhyvit.data.entries import pixel_hash, read_image
from qhyvit.data.unlabelled_folder import class_labels, draw, list_images, missing_labels
from qhyvit.deploy.amx import amx_remarks
from qhyvit.deploy.engines import load_engine
from qhyvit.deploy.exporting import export
from qhyvit.errors import InputError, UnwritableError
from qhyvit.evaluation.networks import compare_networks
from qhyvit.files import atomic_folder
from qhyvit.graph.describe import describe
from qhyvit.graph.unquantized_products import unquantized_sentence
from qhyvit.models.weights import check_published
from qhyvit.models.zoo import build, load_published_weights, load_weights
from qhyvit.presets import load_preset
from qhyvit.processor import processor
from qhyvit.reporting.conversion import conversion_page

CALIBRATION_IMAGES, HELD_OUT_IMAGES = 32, 500
ENGINES = {"model.xml": "OpenVINO", "model.onnx": "ONNX Runtime"}


def convert(
    model: Annotated[str, typer.Option(help="Model of timm, or of config/models.yaml if that file is there.")],
    images: Annotated[
        Path,
        typer.Option(help="Folder of images, at any depth: up to 32 calibrate, and up to 500 others make the report. Tuning reads more."),
    ],
    output: Annotated[Path, options.Written(folder=True), typer.Option(help="Folder to write; it must not be there yet.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Weights of the model, safetensors (`qhyvit fetch checkpoint` converts others); default: the published ones."),
    ] = None,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes of the model.")] = 1000,
    size: Annotated[
        int | None, typer.Option(min=8, max=LARGEST_SIDE, help="Side of the images in pixels; default: that of the model.")
    ] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Folder of images for the report, instead of others in --images.")] = None,
    method: Annotated[
        str, typer.Option(help="Method of docs/methods.md. Engines execute the grids of all qhyvit-integer methods, and of few others.")
    ] = "qhyvit-integer",
    bits: options.Bits = "w8a8",
    seed: options.Seed = 0,
    threads: options.Threads = 1,
) -> None:
    """Quantize a model of timm with a folder of images: the files that engines run, and a page on how they differ from FP32.

    It writes quantized.safetensors, model.xml with model.bin for OpenVINO, model.onnx if ONNX Runtime can execute the quantizers, and
    report.html. Accuracy is in the report if the folder of its images has one subfolder per class.
    """
    torch.set_num_threads(threads)
    if output.exists() or output.is_symlink():
        raise InputError(f"{output}: already there; give another folder, or remove it")
    parse_bits(bits)
    seen, held_out = _split(images, evaluation, max(CALIBRATION_IMAGES, load_preset(method).images_of_changes), seed)
    calibration = draw(seen, CALIBRATION_IMAGES, seed)
    unlabelled = missing_labels(held_out, evaluation or images, classes)
    with atomic_folder(output) as folder:
        network = _load(model, checkpoint, classes, size)
        transform = transform_of(network)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* not quantized")  # it is among the remarks
            calibrated = calibrate(network, read_images(calibration, transform), seed=seed)
            calibrated = replace(calibrated, read_more=lambda count: read_images(draw(seen, count, seed), transform))
            quantized = quantize(network, calibrated, method, bits)
        others = read_images(held_out, transform)
        labels = None if unlabelled else class_labels(held_out, evaluation or images)
        quantized.save(folder / "quantized.safetensors")
        remarks = [
            _on_images(len(calibration), len(seen), len(held_out), unlabelled),
            describe_transform(network),
            unquantized_sentence(quantized.unquantized),
            *_export(quantized, folder),
        ]
        description = {"model": model} | describe(network, example(others))
        table = _compare(network, quantized, folder, others, labels)
        page = conversion_page(f"{model}, {method}, {bits}", table, remarks, quantized.report(), description)
        (folder / "report.html").write_text(page, encoding="utf-8")
    typer.echo("\n".join([*remarks, f"{output}: {', '.join(sorted(path.name for path in output.iterdir()))}"]))


def _split(images: Path, evaluation: Path | None, count: int, seed: int) -> tuple[list[Path], list[Path]]:
    """Draw ``count`` images that the method sees, and those of the report, which are others by their pixels.

    Raises InputError if there are none for both.
    """
    found = list_images(images)
    if evaluation is None and len(found) < 2:
        raise InputError(f"{images}: has one image; add others, or give --evaluation, another folder for the report")
    seen = draw(found, count if evaluation else min(count, len(found) // 2), seed)
    used, pixels = {path.resolve() for path in seen}, {pixel_hash(read_image(path)) for path in seen}
    others = [path for path in (list_images(evaluation) if evaluation else found) if path.resolve() not in used]
    held_out = [path for path in draw(others, HELD_OUT_IMAGES, seed) if pixel_hash(read_image(path)) not in pixels]
    if not held_out:
        raise InputError(f"{evaluation or images}: has no images but those of the calibration; add others")
    return seen, held_out


def _on_images(calibration: int, seen: int, held_out: int, unlabelled: str) -> str:
    """Say what the images were for, and why there is no accuracy."""
    usual = f" ({CALIBRATION_IMAGES} are usual)" if calibration < CALIBRATION_IMAGES else ""
    no_accuracy = f" There is no top-1: {unlabelled}." if unlabelled else ""
    more = f" of {seen} that the method saw" if seen > calibration else ""
    return f"{calibration} images calibrated{usual}{more}; the table is on {held_out} others. Latencies are of {processor()}.{no_accuracy}"


def _load(name: str, checkpoint: Path | None, classes: int, size: int | None) -> nn.Module:
    """Build the model with its weights, for images of ``size`` pixels a side."""
    spec = find_model(name, read_yaml(MODELS_FILE, MODELS) if MODELS_FILE.exists() else {}, MODELS_FILE)
    network = build(spec, classes, size)
    if checkpoint is None:
        check_published(spec.constructor)
        load_published_weights(network, spec)
    else:
        load_weights(network, checkpoint)
    return network.eval()


def _export(quantized: QuantizedModel, folder: Path) -> list[str]:
    """Write the files for both engines, ONNX only if it can be, and return remarks on them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="On processors with AMX")  # it is among the remarks
        exported = quantized.export(folder / "model.xml")
    remarks = [f"model.xml: {remark}" for remark in [*exported.remarks, *amx_remarks(exported, quantized.traced.sites)]]
    try:
        return remarks + [f"model.onnx: {remark}" for remark in quantized.export(folder / "model.onnx").remarks]
    except UnwritableError:
        raise
    except InputError as error:
        return [*remarks, f"There is no model.onnx: {error}."]


def _compare(network: nn.Module, quantized: QuantizedModel, folder: Path, images: Tensor, labels: list[int] | None) -> pd.DataFrame:
    """Tabulate FP32, the simulation and each engine on the held-out ``images``, as text."""
    with TemporaryDirectory() as temporary:
        fp32 = Path(temporary, "fp32.xml")
        export(quantized.traced, {}, images[:1], fp32)
        files = {"FP32 in OpenVINO": fp32} | {name: folder / file for file, name in ENGINES.items() if (folder / file).exists()}
        engines = {name: load_engine(path, threads=1) for name, path in files.items()}
        return compare_networks({"FP32": network, "simulation": quantized}, engines, images, labels)
