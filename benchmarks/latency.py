"""Latency of int8 models, ours and those of other tools, against FP32 in OpenVINO: all models of a network take turns in one process.

A run that was killed keeps the models that it has exported; a finished run leaves only its reports.
"""

import os
import random
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import pandas as pd
import scipy
import torch
import typer
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

import qhyvit
from benchmarks.common import EXPERIMENT, IMAGES, SEED, fetch, kept, write_report
from benchmarks.yardstick import load
from qhyvit.config.deployment import ENGINES, PEER_BITS, PEER_FORMATS, SUFFIXES, Format
from qhyvit.config.loading import load_config
from qhyvit.deploy.engines import load_engine
from qhyvit.deploy.exporting import export
from qhyvit.evaluation.statistics import CONFIDENCE, RESAMPLES
from qhyvit.graph.traced_model import TracedModel
from qhyvit.peers import PEERS

FOLDER = kept("latency")
FP32, METHOD = "fp32", "qhyvit-integer"
METHODS: dict[str, Format] = {FP32: "openvino", METHOD: "openvino", **PEER_FORMATS}
ROUNDS, WARM_UP = 200, 20
MEAN = "geometric mean"
RATIO = ["relative", "relative_low", "relative_high"]


class Timed(Protocol):
    """Part of an engine that is timed."""

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits of images."""


def main(rounds: int = ROUNDS, name: str = "latency") -> None:
    """Write reports/benchmarks/NAME.{csv,md}: another name keeps the report of another processor."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # the tools do not let one choose the threads of their calibration
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    models = load_config(EXPERIMENT).experiment.models
    fetch(*models)
    for model in track(models, "exporting"):
        prepare(model)
    table = pd.concat([_measure_model(model, rounds) for model in track(models, "measuring")], ignore_index=True)
    write_report(name, with_means(table), _summary(with_means(table)), _notes(rounds))
    shutil.rmtree(FOLDER)


def prepare(model: str, names: Container[str] = METHODS) -> None:
    """Export a network at its own image size: in FP32, quantized by METHOD or quantized by a peer; what is there stays."""
    missing = {name: path for name, path in exported(model).items() if name in names and not path.exists()}
    if not missing:
        return
    module, batches = load(None, IMAGES, model)
    images = torch.cat(batches)
    traced = TracedModel.from_module(module, images[:2])
    (FOLDER / model).mkdir(parents=True, exist_ok=True)
    save_file({"images": images[:1]}, image_of(model))
    for name, path in missing.items():
        if name == FP32:
            export(traced, {}, images[:1], path)
        elif name == METHOD:
            quantized = qhyvit.quantize(module, images, method=METHOD, bits=PEER_BITS, seed=SEED)
            export(traced, quantized.quantizers, images[:1], path)
        else:
            PEERS[name](traced, images, path)


def exported(model: str) -> dict[str, Path]:
    """Return the files of the exported models of a network by method."""
    return {name: FOLDER / model / f"{name}{SUFFIXES[format]}" for name, format in METHODS.items()}


def image_of(model: str) -> Path:
    """Return the file of the image on which a network is timed."""
    return FOLDER / model / "image.safetensors"


def _measure_model(model: str, rounds: int) -> pd.DataFrame:
    engines = {name: load_engine(path, threads=1) for name, path in exported(model).items()}
    image = load_file(image_of(model))["images"]
    table = latencies(seconds_of(engines, image, rounds))
    table.insert(0, "model", model)
    table.insert(1, "size", image.shape[-1])
    table.insert(3, "engine", [ENGINES[engine.path.suffix] for engine in engines.values()])
    return table.assign(int8_share=[100 * engine.int8_share() for engine in engines.values()])


def seconds_of(engines: Mapping[str, Timed], image: Tensor, rounds: int) -> pd.DataFrame:
    """Return the seconds of one inference, one row per round and one column per engine.

    The engines take turns in each round, in random order, so that what disturbs the machine meets all alike.
    """
    order, generator = list(engines), random.Random(0)
    rows = []
    for _ in range(WARM_UP + rounds):
        generator.shuffle(order)
        row = {}
        for name in order:
            started = perf_counter()
            engines[name].logits(image)
            row[name] = perf_counter() - started
        rows.append(row)
    return pd.DataFrame(rows, columns=list(engines)).iloc[WARM_UP:]


def latencies(seconds: pd.DataFrame) -> pd.DataFrame:
    """Return one row per column of ``seconds``: the median in ms, and its ratio to that of FP32 with the 95 % interval.

    The interval is by the paired percentile bootstrap over rounds.
    """
    reference = seconds[FP32].to_numpy()
    rows = []
    for name in seconds:
        own = seconds[name].to_numpy()
        found = scipy.stats.bootstrap(
            (own, reference), _ratio, paired=True, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=0
        )
        rows.append((name, 1e3 * np.median(own), _ratio(own, reference, axis=-1), *found.confidence_interval))
    return pd.DataFrame(rows, columns=["method", "milliseconds", *RATIO])


def _ratio(own: np.ndarray, reference: np.ndarray, axis: int) -> np.ndarray:
    return np.median(own, axis=axis) / np.median(reference, axis=axis)


def with_means(table: pd.DataFrame) -> pd.DataFrame:
    """Append the geometric mean over networks of each method's ratio to FP32."""
    means = table.groupby(["method", "engine"], sort=False).relative.agg(scipy.stats.gmean).reset_index().assign(model=MEAN)
    return pd.concat([table, means], ignore_index=True)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network: milliseconds of FP32, and by how much each method is faster."""
    faster = (1 / table.relative).map("{:.2f}".format)
    interval = " [" + (1 / table.relative_high).map("{:.2f}".format) + ", " + (1 / table.relative_low).map("{:.2f}".format) + "]"
    cells = table.assign(cell=faster + interval.where(table.relative_low.notna(), ""))
    fp32 = table[table.method == FP32].set_index("model")
    wide = cells[cells.method != FP32].pivot(index="model", columns="method", values="cell")
    wide = wide.loc[table.model.unique(), table.method[table.method != FP32].unique()]
    wide.insert(0, "pixels", fp32["size"].map("{:.0f}".format).replace("nan", ""))
    wide.insert(1, "FP32, ms", fp32.milliseconds.map("{:.2f}".format).replace("nan", ""))
    return wide.reset_index()


def _notes(rounds: int) -> str:
    return (
        f"How many times as fast as FP32 in OpenVINO each int8 model is: the ratio of the medians of {rounds} inferences of one image."
        " The 95 % intervals are by the paired bootstrap over rounds. The models of a network take turns in one process. Networks have"
        f" their own image sizes. `{METHOD}` and NNCF's models run in OpenVINO,"
        " `onnxruntime` is ONNX Runtime's static quantization, run by it."
    )


if __name__ == "__main__":
    typer.run(main)
