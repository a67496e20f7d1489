"""Prediction for the paper's experiment on many cores and GPUs: the cost of its jobs, and a list schedule of their graph."""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from scipy.stats import gmean

from benchmarks.common import TARGET, restart_as_jobs_start, write_report
from benchmarks.cost_model import (
    GPU_BATCH,
    GPU_THROUGHPUT,
    TARGET_IMAGES,
    CostModel,
    Fit,
    Parts,
    fit_cpu,
    fit_gpu,
    image_seconds,
    measurements,
)
from benchmarks.costs import decode_seconds, forward_seconds, interval_seconds, merge_seconds, network_sizes, read_seconds, start_seconds
from benchmarks.list_schedule import Dependencies, critical_path, dependencies, makespan
from qhyvit.config.dataset import IMAGENET_CLASSES
from qhyvit.config.loading import Config, load_config
from qhyvit.reporting.write import to_markdown
from workflow.scripts.snakemake_log import Job, read_jobs

EMBEDDED = Path("config/config.yaml")
MACHINES = [(1, 0), (8, 0), (64, 0), (512, 0), (16, 1), (128, 8), (1024, 64)]  # cores and GPUs
CHECKED = ["mobilevitv2_100", "efficientformer_l3", "efficientformerv2_s2"]
HOUR = 3600
ELAPSED = r"^Elapsed time: (\d+):(\d+):(\d+)"  # of a whole run, as Snakemake states it


@dataclass(frozen=True)
class Schedule:
    """Jobs with their seconds, what they need and the kind of worker that each takes."""

    seconds: dict[int, float]
    needs: Dependencies
    kinds: dict[int, str]

    def hours(self, kind: str) -> float:
        """Return the hours of all jobs on a kind of worker."""
        return sum(seconds for job, seconds in self.seconds.items() if self.kinds[job] == kind) / HOUR


def main(
    log: Annotated[Path, typer.Argument(help="Snakemake's log of a whole run of config/config.yaml on a machine that did nothing else.")],
    cores: Annotated[int, typer.Option(help="CPU cores that the run had.")] = 2,
) -> None:
    """Write reports/benchmarks/scaling.{csv,md}."""
    restart_as_jobs_start("scaling")
    torch.set_num_threads(1)
    target = load_config(TARGET, allow_unset_env=True)
    text = log.read_text()
    if not re.search(ELAPSED, text, flags=re.MULTILINE) or "rule evaluate_fp32:" not in text:
        raise typer.BadParameter(f"{log}: not the log of a whole run of {EMBEDDED} in less than a day; give one of .snakemake/log")
    finished, jobs = read_jobs(text), read_jobs(_plan(TARGET))
    sizes = network_sizes(target)
    cpu = fit_cpu(measurements(finished, network_sizes(load_config(EMBEDDED))))
    checked = check_networks(cpu, sizes, target)
    slowdown = float(gmean(checked.measured / checked.modelled))
    parts = Parts(
        start_seconds(),
        decode_seconds(target),
        read_seconds(target),
        merge_seconds(IMAGENET_CLASSES),
        interval_seconds(TARGET_IMAGES),
        slowdown,
    )
    costs = CostModel(cpu, fit_gpu(sizes), parts, sizes, target)
    schedules = {gpu: schedule(jobs, costs, gpu) for gpu in (False, True)}
    table = pd.DataFrame([predict(schedules[gpus > 0], machine_cores, gpus) for machine_cores, gpus in MACHINES])
    notes = [_by_rule(jobs, costs), _networks(checked, slowdown), _check_run(finished, text, cores), _assumptions(costs)]
    write_report("scaling", table, _summary(table), "\n\n".join(notes), ["snakemake", "torch"])


def schedule(jobs: Mapping[int, Job], costs: CostModel, gpu: bool) -> Schedule:
    """Give each job its seconds; on a ``gpu``, its networks are a job of their own, which comes after the rest of it."""
    needs = dict(dependencies(jobs))
    seconds = {number: costs.other_seconds(job) for number, job in jobs.items()}
    kinds = dict.fromkeys(jobs, "core")
    for number, job in jobs.items():
        networks = costs.network_seconds(job, gpu)
        if networks and gpu:  # the number of the job, which others need, is that of its last part
            seconds[-number], kinds[-number], needs[-number] = seconds[number], "core", needs[number]
            seconds[number], kinds[number], needs[number] = networks, "gpu", {-number}
        else:
            seconds[number] += networks
    return Schedule(seconds, needs, kinds)


def predict(jobs: Schedule, cores: int, gpus: int) -> dict[str, float]:
    """Return the hours of a schedule on a machine, or on a cluster of as many cores and GPUs."""
    return {
        "cores": cores,
        "gpus": gpus,
        "wall_hours": makespan(jobs.seconds, jobs.needs, {"core": cores, "gpu": gpus}, jobs.kinds) / HOUR,
        "core_hours": jobs.hours("core"),
        "gpu_hours": jobs.hours("gpu"),
        "longest_chain_hours": critical_path(jobs.seconds, jobs.needs) / HOUR,
    }


def _plan(config: Path) -> str:
    command = [sys.executable, "-m", "snakemake", "-n", "--forceall", "--configfile", str(config)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cores": table.cores.map("{:,}".format),
            "GPUs": table.gpus,
            "wall time, predicted": table.wall_hours.map(_hours),
            "core-hours, predicted": table.core_hours.map("{:,.0f}".format),
            "GPU-hours, predicted": table.gpu_hours.map("{:,.1f}".format),
            "longest chain of jobs": table.longest_chain_hours.map(_hours),
        }
    )


def _hours(value: float) -> str:
    return f"{value / 24:.1f} d" if value >= 48 else f"{value:.1f} h"


def _by_rule(jobs: Mapping[int, Job], costs: CostModel) -> str:
    rows = [(job.rule, costs.other_seconds(job) + costs.network_seconds(job, gpu=False)) for job in jobs.values()]
    table = pd.DataFrame(rows, columns=["rule", "seconds"])
    totals = table.groupby("rule").seconds.agg(["size", "sum", "max"]).sort_values("sum", ascending=False).reset_index()
    shown = {
        "rule": totals.rule,
        "jobs": totals["size"].map("{:,}".format),
        "core-hours": (totals["sum"] / HOUR).map("{:,.1f}".format),
        "longest job, minutes": (totals["max"] / 60).map("{:.1f}".format),
    }
    return f"By rule, predicted without GPUs:\n\n{to_markdown(pd.DataFrame(shown))}".rstrip()


def check_networks(fit: Fit, sizes: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Compare the modelled seconds per image with those of FP32 networks, at their own image size, which no measured job ran."""
    table = sizes.loc[CHECKED, ["gmacs"]]
    table["modelled"] = [image_seconds(fit, gmacs) for gmacs in table.gmacs]
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
        "The model is fitted to evaluations at 128 px, most of them of quantized networks. FP32 networks alone, at their own image size,"
        f" take longer than it predicts. All images above count {slowdown:.2f} times, the geometric mean:"
        f"\n\n{to_markdown(pd.DataFrame(shown))}"
    ).rstrip()


def _check_run(jobs: Mapping[int, Job], text: str, cores: int) -> str:
    hours, minutes, seconds = re.findall(ELAPSED, text, flags=re.MULTILINE)[0]
    elapsed = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds)).total_seconds()
    seconds = {number: job.seconds or 0.0 for number, job in jobs.items()}
    simulated = makespan(seconds, dependencies(jobs), {"core": cores}, dict.fromkeys(jobs, "core"))
    return (
        f"The schedule against a run. The {len(jobs)} jobs of `{EMBEDDED}` on {cores} workers, with their measured seconds, end after"
        f" {simulated:.0f} s. The run took {elapsed:.0f} s ({simulated / elapsed - 1:+.0%})."
    )


def _assumptions(costs: CostModel) -> str:
    start, image, macs = (1000 * value for value in costs.cpu["predict"])
    gpu_image, gpu_macs = (1000 * value for value in costs.gpu)
    parts = costs.parts
    decode, read, merge = (1000 * value for value in (parts.decode, parts.read, parts.merge))
    return (
        f"The model. A job that runs networks takes {start / 1000:.1f} s, {image:.2f} ms for each image and network, and {macs:.1f} ms more"
        " for each billion MACs. It is fitted to the evaluations of that run, whose jobs share processes. Each predicted job has one of its"
        f" own, which takes {parts.start:.1f} s to import, load and trace a network and to decode its calibration images. Also"
        f" measured here: {decode:.1f} ms to decode a photograph, {read:.2f} ms to read a decoded one, {merge:.2f} ms to compare its logits"
        f" with FP32's. It takes {parts.interval:.1f} s for the bootstrap interval of one result on {TARGET_IMAGES:,} images. Methods that"
        " the run does not have"
        " are taken to cost as much as `qhyvit`. Jobs take one core each.\n\n"
        f"On a GPU, each image and network takes {gpu_image:.2f} ms, and {gpu_macs:.2f} ms more for each billion MACs. This is fitted to"
        f" the throughput of four networks with simulated W8A8 quantization on an H100, in batches of {GPU_BATCH} (`{GPU_THROUGHPUT}`)."
        " Their starts and the reading of images are taken to be on cores meanwhile: several jobs share a GPU. All other jobs are on"
        " cores. No run of these jobs on a GPU was measured."
    )


if __name__ == "__main__":
    typer.run(main)
