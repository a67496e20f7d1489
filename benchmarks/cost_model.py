"""Cost of the jobs of the paper's experiment, by those of an embedded run and by parts that are measured alone.

A job that runs a network takes seconds in proportion to the images and to the network's multiply-accumulates (MACs). A search takes seconds
in proportion to the parameters: it reads equally many sampled rows of every layer, whatever the size of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from qhyvit.config.dataset import IMAGENET_CLASSES, IMAGENET_VALIDATION_IMAGES
from qhyvit.config.loading import Config
from workflow.scripts.snakemake_log import Job

EMBEDDED_IMAGES, TARGET_IMAGES = 2000, IMAGENET_VALIDATION_IMAGES
GPU_THROUGHPUT = Path("resources/measured/h100-throughput.csv")
NETWORK_RULES = {"calibrate", "recalibrate", "challenges", "quantize_baseline", "reconstruct", "predict", "evaluate", "evaluate_fp32"}
SHORTEST = 0.5  # seconds that a job is taken to last of which the log says 0: it has whole seconds
GPU_BATCH = 64  # the measured one nearest to that of an evaluation
Fit = dict[str, list[float]]


@dataclass(frozen=True)
class Parts:
    """CPU-seconds, measured here, of parts that a run on few small images does not show."""

    start: float  # of a process: imports, loading and tracing of a network, which the jobs of that run share
    decode: float  # a photograph
    read: float  # a photograph that was decoded before
    merge: float  # an image's logits, compared with FP32's
    interval: float  # of one result on all images
    slowdown: float  # factor: larger images take longer than their multiplications predict, by the networks that were checked


@dataclass(frozen=True)
class CostModel:
    """Seconds of each job of ``config``: those of its networks on one core or one GPU, and all others, which are on one core.

    ``cpu`` and ``gpu`` are fits; ``sizes`` has the size of each network (`costs.network_sizes`).
    """

    cpu: Fit
    gpu: list[float]
    parts: Parts
    sizes: pd.DataFrame
    config: Config

    def network_seconds(self, job: Job, gpu: bool) -> float:
        """Return the seconds in which a job runs networks on its images; 0 for jobs of other rules than `predict`."""
        if job.rule != "predict":
            return 0.0
        networks = 1 if job.wildcards.get("run") == "fp32" else len(self.config.experiment.bits)
        gmacs = self._size(job, "gmacs")
        per_image = line(self.gpu, gmacs) if gpu else self.parts.slowdown * image_seconds(self.cpu, gmacs)
        return self._images * networks * per_image

    def other_seconds(self, job: Job) -> float:
        """Return the seconds of all else; a method that the run did not have counts as `qhyvit`, a rule as `table_accuracy`."""
        return self._own_seconds(job) + (self.parts.start if job.rule in NETWORK_RULES else 0.0)

    def _own_seconds(self, job: Job) -> float:
        match job.rule:
            case "predict":
                return self.cpu["predict"][0] + self._images * self.parts.read
            case "evaluate" | "evaluate_fp32":
                networks = 1 if job.rule == "evaluate_fp32" else len(self.config.experiment.bits)
                return self.cpu["predict"][0] + networks * TARGET_IMAGES * self.parts.merge
            case "calibrate" | "recalibrate":
                return line(self.cpu[job.rule], self._size(job, "gmacs"))
            case "challenges":
                return line(self.cpu["challenges"], self._size(job, "parameters"))
            case "quantize_baseline" | "reconstruct":
                return line(self.cpu.get(job.wildcards["method"], self.cpu["qhyvit"]), self._size(job, "parameters"))
            case "fetch_images":
                return (TARGET_IMAGES + IMAGENET_CLASSES) * self.parts.decode
            case "aggregate":
                return self.cpu["aggregate"][0] + len(job.input) * self.parts.interval
            case rule:
                return self.cpu.get(rule, self.cpu["table_accuracy"])[0]

    @property
    def _images(self) -> float:
        return TARGET_IMAGES / self.config.experiment.evaluation.shards

    def _size(self, job: Job, name: str) -> float:
        return float(self.sizes[name][job.wildcards["model"]])


def measurements(jobs: Mapping[int, Job], sizes: pd.DataFrame) -> pd.DataFrame:
    """Return one row per finished job: rule, method, seconds, size of the network, and number of networks that it ran."""
    rows = [
        (
            job.rule,
            job.wildcards.get("model"),
            job.wildcards.get("method"),
            max(job.seconds, SHORTEST),
            len(job.output) if job.rule == "evaluate" else 1,
        )
        for job in jobs.values()
        if job.seconds is not None
    ]
    return pd.DataFrame(rows, columns=["rule", "model", "method", "seconds", "networks"]).join(sizes, on="model")


def fit_cpu(measured: pd.DataFrame) -> Fit:
    """Return the seconds of a start, and per image and billion MACs or per unit of size, by rule, and of searches by method."""
    by_rule = {str(rule): table for rule, table in measured.groupby("rule")}
    fit = {rule: [float(table.seconds.mean())] for rule, table in by_rule.items()}
    runs = pd.concat([by_rule["evaluate_fp32"], by_rule["evaluate"]])
    images = runs.networks * EMBEDDED_IMAGES
    fit["predict"] = _least_squares([np.ones(len(runs)), images, images * runs.gmacs], runs.seconds)
    for rule, size in (("calibrate", "gmacs"), ("recalibrate", "gmacs"), ("challenges", "parameters")):
        fit[rule] = _least_squares([np.ones(len(by_rule[rule])), by_rule[rule][size]], by_rule[rule].seconds)
    for method, table in pd.concat([by_rule["quantize_baseline"], by_rule["reconstruct"]]).groupby("method"):
        fit[str(method)] = _least_squares([np.ones(len(table)), table.parameters], table.seconds)
    return fit


def fit_gpu(sizes: pd.DataFrame) -> list[float]:
    """Return the seconds per image, and per image and billion MACs, of simulated quantization on the GPU that was measured."""
    table = pd.read_csv(GPU_THROUGHPUT).query(f"network == 'quantized' and batch_size == {GPU_BATCH}").join(sizes, on="model")
    return _least_squares([np.ones(len(table)), table.gmacs], 1 / table.images_per_second)


def image_seconds(fit: Fit, gmacs: float) -> float:
    """Return the seconds per image of a network on one core, without the factor for larger images."""
    return line(fit["predict"][1:], gmacs)


def line(coefficients: list[float], size: float) -> float:
    """Return the value of a fit at a size."""
    constant, factor = coefficients
    return constant + factor * size


def _least_squares(columns: list[pd.Series | np.ndarray], seconds: pd.Series) -> list[float]:
    """Fit a factor per column, none negative, by least squared relative error."""
    design = np.column_stack(columns) / seconds.to_numpy()[:, None]
    return [float(value) for value in nnls(design, np.ones(len(seconds)))[0]]
