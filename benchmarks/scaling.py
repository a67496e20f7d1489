"""Prediction for the paper's experiment on many workers: a cost model of measured jobs, and a list schedule of its graph of jobs.

The cost of a job that runs a network scales with the images times the network's multiply-accumulates (MACs). The cost of a search scales
with the parameters: it reads equally many sampled rows of every layer, whatever the size of the image.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from scipy.optimize import nnls
from scipy.stats import gmean

from benchmarks.common import TARGET, restart_as_jobs_start, write_report
from benchmarks.costs import forward_seconds, interval_seconds, merge_seconds, network_sizes, read_seconds
from benchmarks.list_schedule import critical_path, dependencies, makespan
from qhyvit.config.loading import Config, load_config
from qhyvit.reporting.write import to_markdown
from workflow.scripts.snakemake_log import Job, read_jobs

EMBEDDED = Path("config/config.yaml")
EMBEDDED_IMAGES, TARGET_IMAGES, CLASSES = 2000, 50000, 1000
WORKERS = [1, 8, 64, 512]
CHECKED = ["mobilevitv2_100", "efficientformer_l3", "efficientformerv2_s2"]
HOUR = 3600
Model = dict[str, list[float]]


@dataclass(frozen=True)
class Parts:
    """CPU-seconds, measured here, of parts that a run on few small images does not show."""

    read: float  # a photograph
    merge: float  # an image's logits, compared with FP32's
    interval: float  # of one result on all images
    slowdown: float  # factor: larger images take longer than their multiplications predict, by the networks that were checked


def main(
    log: Annotated[Path, typer.Argument(help="Snakemake's log of a whole run of config/config.yaml on a machine that did nothing else.")],
    cores: Annotated[int, typer.Option(help="CPU cores that the run had.")] = 2,
) -> None:
    """Write reports/benchmarks/scaling.{csv,md}."""
    restart_as_jobs_start("scaling")
    torch.set_num_threads(1)
    target = load_config(TARGET, allow_unset_env=True)
    text = log.read_text()
    finished, jobs = read_jobs(text), read_jobs(_plan(TARGET))
    measured = measurements(finished, network_sizes(load_config(EMBEDDED)))
    sizes = network_sizes(target)
    model = fit(measured)
    checked = check_networks(model, sizes, target)
    slowdown = float(gmean(checked.measured / checked.modelled))
    parts = Parts(read_seconds(target), merge_seconds(CLASSES), interval_seconds(TARGET_IMAGES), slowdown)
    seconds = {number: predict(model, parts, job, sizes, target) for number, job in jobs.items()}
    needs = dependencies(jobs)
    table = pd.DataFrame({"workers": WORKERS, "wall_hours": [makespan(seconds, needs, count) / HOUR for count in WORKERS]})
    table["cpu_hours"] = sum(seconds.values()) / HOUR
    table["busy"] = table.cpu_hours / (table.workers * table.wall_hours)
    table["longest_chain_hours"] = critical_path(seconds, needs) / HOUR
    notes = [_by_rule(jobs, seconds), _networks(checked, slowdown), _check_run(finished, text, cores), _assumptions(model, parts)]
    write_report("scaling", table, _summary(table), "\n\n".join(notes), ["snakemake", "torch"])


def measurements(jobs: Mapping[int, Job], sizes: pd.DataFrame) -> pd.DataFrame:
    """Return one row per finished job: rule, method, seconds, size of the network, and number of networks that it ran."""
    rows = [
        (job.rule, job.wildcards.get("model"), job.wildcards.get("method"), job.seconds, len(job.output) if job.rule == "evaluate" else 1)
        for job in jobs.values()
    ]
    return pd.DataFrame(rows, columns=["rule", "model", "method", "seconds", "networks"]).join(sizes, on="model")


def fit(measured: pd.DataFrame) -> Model:
    """Return the seconds of a start, and per image and billion MACs or per unit of size, by rule, and of searches by method."""
    by_rule = {str(rule): table for rule, table in measured.groupby("rule")}
    model = {rule: [float(table.seconds.mean())] for rule, table in by_rule.items()}
    runs = pd.concat([by_rule["evaluate_fp32"], by_rule["evaluate"]])
    images = runs.networks * EMBEDDED_IMAGES
    model["predict"] = _least_squares([images, images * runs.gmacs], runs.seconds)
    model["calibrate"] = _least_squares([by_rule["calibrate"].gmacs], by_rule["calibrate"].seconds)
    model["challenges"] = _least_squares([by_rule["challenges"].parameters], by_rule["challenges"].seconds)
    model["recalibrate"] = _least_squares([by_rule["recalibrate"].gmacs], by_rule["recalibrate"].seconds)
    for method, table in pd.concat([by_rule["quantize_baseline"], by_rule["reconstruct"]]).groupby("method"):
        model[str(method)] = _least_squares([table.parameters], table.seconds)
    return model


def predict(model: Model, parts: Parts, job: Job, sizes: pd.DataFrame, config: Config) -> float:
    """Return the seconds of a job of the target; a method that the run did not have counts as `qhyvit-cv`, a rule as `table_accuracy`."""
    gmacs, parameters = (float(sizes[size].get(job.wildcards.get("model"), 0)) for size in ("gmacs", "parameters"))
    networks = 1 if job.wildcards.get("run") == "fp32" or job.rule == "evaluate_fp32" else len(config.experiment.bits)
    match job.rule:
        case "predict":
            images = TARGET_IMAGES / config.experiment.evaluation.shards
            return model["predict"][0] + images * (networks * parts.slowdown * _image_seconds(model, gmacs) + parts.read)
        case "evaluate" | "evaluate_fp32":
            return model["predict"][0] + networks * TARGET_IMAGES * parts.merge
        case "calibrate" | "recalibrate":
            return _line(model[job.rule], gmacs)
        case "challenges":
            return _line(model["challenges"], parameters)
        case "quantize_baseline" | "reconstruct":
            return _line(model.get(job.wildcards["method"], model["qhyvit-cv"]), parameters)
        case "fetch_images":
            return (TARGET_IMAGES + CLASSES) * parts.read
        case "aggregate":
            return model["aggregate"][0] + len(job.input) * parts.interval
        case rule:
            return model.get(rule, model["table_accuracy"])[0]


def _least_squares(sizes: list[pd.Series], seconds: pd.Series) -> list[float]:
    """Fit a start and a factor per size, none negative, by least squared relative error."""
    design = np.column_stack([np.ones(len(seconds)), *sizes]) / seconds.to_numpy()[:, None]
    return [float(value) for value in nnls(design, np.ones(len(seconds)))[0]]


def _image_seconds(model: Model, gmacs: float) -> float:
    return model["predict"][1] + model["predict"][2] * gmacs


def _line(coefficients: list[float], *sizes: float) -> float:
    return coefficients[0] + sum(factor * size for factor, size in zip(coefficients[1:], sizes, strict=True))


def _plan(config: Path) -> str:
    command = [sys.executable, "-m", "snakemake", "-n", "--forceall", "--configfile", str(config)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "workers": table.workers,
            "wall time, predicted": table.wall_hours.map(_hours),
            "CPU-hours, predicted": table.cpu_hours.map("{:,.0f}".format),
            "workers busy": table.busy.map("{:.0%}".format),
            "longest chain of jobs": table.longest_chain_hours.map(_hours),
        }
    )


def _hours(value: float) -> str:
    return f"{value / 24:.1f} d" if value >= 48 else f"{value:.1f} h"


def _by_rule(jobs: Mapping[int, Job], seconds: Mapping[int, float]) -> str:
    table = pd.DataFrame([(job.rule, seconds[number]) for number, job in jobs.items()], columns=["rule", "seconds"])
    totals = table.groupby("rule").seconds.agg(["size", "sum", "max"]).sort_values("sum", ascending=False).reset_index()
    shown = {
        "rule": totals.rule,
        "jobs": totals["size"].map("{:,}".format),
        "CPU-hours": (totals["sum"] / HOUR).map("{:,.1f}".format),
        "longest job, minutes": (totals["max"] / 60).map("{:.1f}".format),
    }
    return f"By rule, predicted:\n\n{to_markdown(pd.DataFrame(shown))}".rstrip()


def check_networks(model: Model, sizes: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Compare the modelled seconds per image with those of FP32 networks, at their own image size, which no measured job ran."""
    table = sizes.loc[CHECKED, ["gmacs"]]
    table["modelled"] = [_image_seconds(model, gmacs) for gmacs in table.gmacs]
    table["measured"] = [forward_seconds(config, name) for name in CHECKED]
    return table


def _networks(checked: pd.DataFrame, slowdown: float) -> str:
    shown = {
        "network": checked.index,
        "billion MACs": checked.gmacs.map("{:.2f}".format),
        "ms per image, by the model": (1000 * checked.modelled).map("{:.0f}".format),
        "FP32 measured": (1000 * checked.measured).map("{:.0f}".format),
    }
    return (
        "Networks at their own image size, which no measured job ran, take longer than their multiplications predict. So all images above"
        f" count {slowdown:.2f} times (the geometric mean):\n\n{to_markdown(pd.DataFrame(shown))}"
    ).rstrip()


def _check_run(jobs: Mapping[int, Job], text: str, cores: int) -> str:
    hours, minutes, seconds = re.findall(r"^Elapsed time: (\d+):(\d+):(\d+)", text, flags=re.MULTILINE)[0]
    elapsed = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds)).total_seconds()
    simulated = makespan({number: job.seconds or 0.0 for number, job in jobs.items()}, dependencies(jobs), cores)
    return (
        f"The schedule against a run. The {len(jobs)} jobs of `{EMBEDDED}` on {cores} workers, with their measured seconds, end after"
        f" {simulated:.0f} s. The run took {elapsed:.0f} s ({simulated / elapsed - 1:+.0%})."
    )


def _assumptions(model: Model, parts: Parts) -> str:
    start, image, macs = model["predict"]
    return (
        f"The model. A job that runs networks takes {start:.1f} s to start, {1000 * image:.2f} ms for each image and network, and"
        f" {1000 * macs:.1f} ms more for each billion MACs. It is fitted to the evaluations of that run. Also measured here:"
        f" {1000 * parts.read:.1f} ms to read a photograph, {1000 * parts.merge:.2f} ms to compare its logits with FP32's. It takes"
        f" {parts.interval:.1f} s for the bootstrap interval of one result on {TARGET_IMAGES:,} images. Methods that the run does not"
        " have are taken to cost as much as `qhyvit-cv`. Jobs take one CPU each."
    )


if __name__ == "__main__":
    typer.run(main)
