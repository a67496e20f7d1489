"""Snakemake's benchmark files of an experiment. A name is the path below the folder of the data set, without suffix."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from qhyvit.config.deployment import PEER_FORMATS
from qhyvit.config.loading import Config


class Quantization(NamedTuple):
    """Quantized network: ``seed`` is text, as in 0 or in 0-8images, and ``bits`` are those of weights and activations, as in w8a8."""

    model: str
    seed: str
    method: str
    mode: str
    bits: str


def seconds(folder: Path, name: str) -> float:
    """Return the wall-clock seconds of a job; NaN if it left no file. Of the columns only `s` spans the whole job."""
    path = folder / f"{name}.tsv"
    return float(pd.read_csv(path, sep="\t").s.mean()) if path.exists() else float("nan")


def calibration_file(model: str, seed: str) -> str:
    """Return the name for the calibration that all methods share."""
    return f"calibrate/{model}-seed{seed}"


def quantization_files(run: Quantization, key: str | None) -> list[str]:
    """Return the names for the quantization of a network, and for its recalibration with ``key``, which several methods may share."""
    place = f"{run.model}-seed{run.seed}"
    modes = ["partial", "full"] if run.mode == "full" else ["partial"]  # full mode adds to the operands of partial mode
    names = [f"quantize/{place}-{run.method}-{mode}-{run.bits}" for mode in modes]
    return [*names, f"recalibrate/{place}-{key}-{run.bits}"] if key else names


def experiment_files(config: Config) -> set[str]:
    """Return the names for all jobs of an experiment that run networks."""
    experiment = config.experiment
    seeds = [str(seed) for seed in experiment.seeds]
    sized = [f"{seed}-{count}images" for seed, count in product(seeds, experiment.calibration_sizes)]
    names = set()
    for model in experiment.models:
        names |= {f"challenges/{model}-seed{seeds[0]}", *_evaluations(config, model, "fp32", f"{model}-fp32")}
        measured = product(experiment.sensitivity.methods, experiment.sensitivity.bits)
        names |= {f"sensitivity/{model}-seed{seeds[0]}-{method}-{bits}" for method, bits in measured}
        for seed in [*seeds, *sized]:
            names.add(calibration_file(model, seed))
            for method, mode in product(experiment.methods, experiment.modes):
                if mode not in config.methods[method].modes:
                    continue
                runs = [Quantization(model, seed, method, mode, bits) for bits in experiment.bits]
                names |= {name for run in runs for name in quantization_files(run, config.methods[method].recalibration_key)}
                names |= _evaluations(config, model, f"seed{seed}/{method}-{mode}", f"{model}-seed{seed}-{method}-{mode}")
        for seed, run in product(seeds, experiment.deployment.runs):
            place = f"{model}-seed{seed}-{run.method}-{run.bits}"
            names.add(f"run_exported/{place}-{run.format}")
            if run.method in PEER_FORMATS:
                names.add(f"quantize_peer/{place}{'-onnx' if run.format == 'onnx' else ''}")
            else:
                names.add(f"export/{place}-{run.format}")
    return names


def _evaluations(config: Config, model: str, run: str, name: str) -> set[str]:
    """Return the names for an evaluation: its shards, where they are jobs of their own, and their merge."""
    count = config.experiment.evaluation.shards
    shards = range(1, count + 1) if count > 1 or config.experiment.deployment.own_runs else ()
    return {f"evaluate/{name}", *(f"predict/{model}/{run}-shard{shard}of{count}" for shard in shards)}
