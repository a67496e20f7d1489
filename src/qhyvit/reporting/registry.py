"""Tables and figures of a report: names, captions, inputs, and the experiments that have them. The workflow has one loop over each.

Inputs are named by kind. Files of the report: ``results`` (results.csv), ``correct`` (correct.csv), ``challenges`` (challenges.csv),
``timings`` (timings/timings.csv), ``calibration_size`` (tables/calibration_size.csv), ``deployment`` (deployment.csv). Files of runs:
``evaluations`` (results of all runs, FP32 included), ``deployed`` (results of exported models, FP32 included), ``quantized`` (results of
all quantized networks), ``activations``, ``channel_ranges`` and ``networks`` (outputs of `qhyvit challenges`), ``site_errors`` (of the runs
of the first seed), ``sensitivity``, ``benchmarks`` (the folder of Snakemake's benchmark files, which is no input of a rule), and ``jobs``
(outputs of all jobs with a benchmark file, which a rule waits for and no command reads). A figure per model takes the files of runs of its
model. ``images`` is their manifest, ``published/NAME`` is resources/published/NAME.csv, ``latency`` is reports/benchmarks/latency.csv if
there is one.
"""

from typing import TypeVar

from qhyvit.config.deployment import PEER_BITS
from qhyvit.config.loading import Config
from qhyvit.reporting import captions
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.entries import Entry, FigureEntry, TableEntry, modes
from qhyvit.reporting.tables.headline import CLAIMED

E = TypeVar("E", bound=Entry)
JOINT = ("qhyvit-scheme", "qhyvit", "qhyvit-joint")
PRINTED = ("csv", "md", "tex")


def _has_ablation(config: Config, mode: str) -> bool:
    steps = read_catalog(config.experiment.methods_file).steps
    return bool(steps) and all(name in config.methods and mode in config.methods[name].modes for name in steps)


def _has_seeds(config: Config) -> bool:
    return len(config.experiment.seeds) > 1


def _has_sizes(config: Config) -> bool:
    return bool(config.experiment.calibration_sizes)


def _has_deployment(config: Config) -> bool:
    return bool(config.experiment.deployment.runs)


def _has_published_bits(config: Config, mode: str) -> bool:
    return mode in modes(config) and bool({"w8a8", "w6a6"} & {*config.experiment.bits})


def _by_name(*entries: E) -> dict[str, E]:
    return {entry.name: entry for entry in entries}


RESULTS = Entry(name="results", title="all results", caption=captions.RESULTS, category="Tables", inputs=())

TABLES = _by_name(
    TableEntry(name="accuracy", title="accuracy by method and bit-width", caption=captions.ACCURACY, inputs=("results", "correct")),
    TableEntry(
        name="table_ii",
        title="comparison with the paper's Table II (partial quantization)",
        caption=captions.TABLE_II,
        inputs=("results", "correct", "published/table_ii"),
        formats=PRINTED,
        available=lambda config: _has_published_bits(config, "partial"),
    ),
    TableEntry(
        name="table_iii",
        title="comparison with the paper's Table III (full quantization)",
        caption=captions.TABLE_III,
        inputs=("results", "correct", "published/table_iii", "published/hyq"),
        formats=PRINTED,
        available=lambda config: _has_published_bits(config, "full"),
    ),
    TableEntry(
        name="table_iv",
        title="comparison with the paper's Table IV (ablation)",
        caption=captions.TABLE_IV,
        inputs=("results", "correct", "published/table_iv", "published/table_ii"),
        formats=PRINTED,
        available=lambda config: _has_published_bits(config, "partial") and _has_ablation(config, "partial"),
    ),
    TableEntry(
        name="improvement",
        title="mean improvement over each baseline",
        caption=captions.IMPROVEMENT,
        inputs=("results", "published/table_ii", "published/table_iii", "published/improvements"),
        formats=PRINTED,
    ),
    TableEntry(name="paired", title="Q-HyViT against each other method, image by image", caption=captions.PAIRED, inputs=("correct",)),
    TableEntry(
        name="ablation",
        title="gain of each step of the search, image by image",
        caption=captions.ABLATION,
        inputs=("correct",),
        available=lambda config: any(_has_ablation(config, mode) for mode in modes(config)),
    ),
    TableEntry(
        name="joint",
        title="joint search of bridge blocks against the search without it",
        caption=captions.JOINT,
        inputs=("results",),
        available=lambda config: {*JOINT} <= {*config.methods},
    ),
    TableEntry(name="seeds", title="spread over seeds", caption=captions.SEEDS, inputs=("results",), available=_has_seeds),
    TableEntry(
        name="calibration_size",
        title="drop by number of calibration images",
        caption=captions.CALIBRATION_SIZE,
        inputs=("evaluations",),
        available=_has_sizes,
    ),
    TableEntry(
        name="deployment",
        title="exported models, run as integers",
        caption=captions.DEPLOYMENT,
        category="Deployment",
        inputs=("deployed",),
        folder="",
        available=_has_deployment,
    ),
    TableEntry(
        name="deployment_paired",
        title="exported models against other tools, image by image",
        caption=captions.DEPLOYMENT_PAIRED,
        category="Deployment",
        inputs=("deployed", "images"),
        available=lambda config: bool(config.experiment.deployment.own_runs and config.experiment.deployment.peers),
    ),
    TableEntry(
        name="challenges",
        title="ranges and zero-point overflow by site",
        caption=captions.CHALLENGES,
        category="Challenges",
        inputs=("activations",),
        folder="",
        formats=("csv",),
    ),
    TableEntry(
        name="challenges_by_network",
        title="challenges by network",
        caption=captions.CHALLENGES_BY_NETWORK,
        category="Challenges",
        inputs=("challenges", "networks"),
    ),
    TableEntry(
        name="timings",
        title="seconds of each run",
        caption=captions.TIMINGS,
        category="Timings",
        inputs=("results", "benchmarks"),
        folder="timings",
        formats=("csv",),
    ),
    TableEntry(
        name="job_minutes",
        title="minutes of all jobs",
        caption=captions.JOB_MINUTES,
        category="Timings",
        inputs=("jobs", "benchmarks"),
        folder="timings",
    ),
    TableEntry(
        name="running_time",
        title="running time",
        caption=captions.RUNNING_TIME,
        category="Timings",
        inputs=("timings", "published/fig_9"),
        folder="timings",
        formats=PRINTED,
    ),
    TableEntry(
        name="configuration",
        title="settings and software",
        caption=captions.CONFIGURATION,
        category="Provenance",
        inputs=("results",),  # it is made with them, so that a reproduction has its own versions
        folder="provenance",
        formats=("csv",),
    ),
    TableEntry(
        name="runs",
        title="origin of each quantized network",
        caption=captions.RUNS,
        category="Provenance",
        inputs=("quantized",),
        folder="provenance",
        formats=("csv",),
    ),
)

FIGURES = _by_name(
    FigureEntry(
        name="drops",
        title="drop of each method, {mode} quantization",
        caption=captions.DROPS,
        inputs=("results", "correct"),
        per=("mode",),
    ),
    FigureEntry(
        name="claims",
        title="drops by network, next to published ones where known",
        caption=captions.CLAIMS,
        inputs=("results", "correct", "published/table_ii"),
        available=lambda config, _: {*CLAIMED} <= {*config.methods} and _has_published_bits(config, "partial"),
    ),
    FigureEntry(
        name="seeds",
        title="spread over seeds, {mode} quantization",
        caption=captions.SEEDS_FIGURE,
        inputs=("results",),
        per=("mode",),
        available=lambda config, _: _has_seeds(config),
    ),
    FigureEntry(
        name="ablation",
        title="drop after each step of the search, {mode} quantization",
        caption=captions.ABLATION_FIGURE,
        inputs=("results", "correct"),
        per=("mode",),
        available=lambda config, instance: _has_ablation(config, instance["mode"]),
    ),
    FigureEntry(
        name="site_errors",
        title="quantization error by site, {model}",
        caption=captions.SITE_ERRORS,
        inputs=("site_errors",),
        per=("model",),
        heading="{model}",
    ),
    FigureEntry(
        name="sensitivity",
        title="cost of single sites, {model}, {method} {bits}",
        caption=captions.SENSITIVITY,
        inputs=("sensitivity",),
        per=("model", "method", "bits"),
        heading="{model}, {method} {bits}",
    ),
    FigureEntry(
        name="calibration_size",
        title="drop by number of calibration images",
        caption=captions.CALIBRATION_SIZE_FIGURE,
        inputs=("calibration_size",),
        available=lambda config, _: _has_sizes(config),
    ),
    FigureEntry(
        name="channel_ranges",
        title="channel ranges by site, {model}",
        caption=captions.CHANNEL_RANGES,
        category="Challenges",
        inputs=("channel_ranges",),
        per=("model",),
    ),
    FigureEntry(
        name="zero_point_overflow",
        title="zero-point overflow by site",
        caption=captions.ZERO_POINT_OVERFLOW,
        category="Challenges",
        inputs=("challenges",),
    ),
    FigureEntry(
        name="bridge_sites",
        title="channel ranges and overflow at bridge sites and at others",
        caption=captions.BRIDGE_SITES,
        category="Challenges",
        inputs=("channel_ranges", "challenges"),
    ),
    FigureEntry(
        name="deployment",
        title="drop and latency of exported models",
        caption=captions.DEPLOYMENT_FIGURE,
        category="Deployment",
        inputs=("deployment", "latency"),
        available=lambda config, _: PEER_BITS in {run.bits for run in config.experiment.deployment.runs},
    ),
    FigureEntry(
        name="drop_against_seconds",
        title="drop against time, {mode} quantization",
        caption=captions.DROP_AGAINST_SECONDS,
        category="Timings",
        inputs=("results", "timings"),
        per=("mode",),
        folder="timings",
    ),
)
