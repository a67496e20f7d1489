import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from snakemake.exceptions import WorkflowError

from qhyvit.config.environment import env_variables
from qhyvit.config.loading import load_config
from qhyvit.config.reports import claim_reports_folder
from qhyvit.data.dvc import tracked_hash
from qhyvit.errors import InputError
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import FIGURES, RESULTS as RESULTS_PAGE, TABLES
from workflow.scripts.fingerprint import CodeFingerprints

# The jobs read the configuration file themselves, so there must be exactly one, and no other source of settings.
if len(workflow.configfiles) != 1 or workflow.config_settings.config:
    raise WorkflowError("give one --configfile and no --config: settings are changed in a configuration file")

CONFIG = os.path.relpath(workflow.configfiles[0])

try:
    SETTINGS = load_config(Path(CONFIG), allow_unset_env=True)
except InputError as error:
    raise WorkflowError(str(error))

EXPERIMENT = SETTINGS.experiment
RESULTS = f"{EXPERIMENT.results}/{EXPERIMENT.dataset.name}"
BENCHMARKS = f"{EXPERIMENT.results}/benchmarks/{EXPERIMENT.dataset.name}"
LOGS = f"logs/{EXPERIMENT.dataset.name}"
REPORTS = str(EXPERIMENT.reports)
METHODS = asdict(read_catalog(EXPERIMENT.methods_file))  # what tables and figures say of them
EXPERIMENT_TABLES = [table for table in TABLES.values() if table.available(SETTINGS)]
EXPERIMENT_FIGURES = [figure for figure in FIGURES.values() if figure.instances(SETTINGS)]
GPU = int(EXPERIMENT.device != "cpu")  # what jobs that run networks ask a cluster for
CODE = CodeFingerprints("qhyvit", by_value=["qhyvit.config", "qhyvit.reporting.registry"])

# Jobs use the commands of the environment that Snakemake runs in, and its configuration: which file that is is no parameter, since results
# do not depend on it. They keep freed buffers, in huge pages where there are any: page faults cost more than the memory.
shell.prefix(
    f'export PATH="{Path(sys.executable).parent}:$PATH" QHYVIT_CONFIG="{CONFIG}" GLIBC_TUNABLES=glibc.malloc.hugetlb=1'
    " MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=2147483647; "
)


# On a cluster these run where Snakemake does: a node may have no network.
localrules:
    fetch_images,
    fetch_weights,
    fetch_cifar10,


def require_data():
    """A plan needs no data and writes no reports, a run does: it stops here, before its first job."""
    try:
        load_config(Path(CONFIG))
        claim_reports_folder(SETTINGS, Path(CONFIG))
    except InputError as error:
        raise WorkflowError(str(error))


def lift_default_rate():
    """Under its default limit of 100 jobs a second Snakemake marker_styles for jobs to start once a second for each that has ended: after some
    hundreds it does little else, on a core that the jobs need."""
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


# A file has but one such hook: the last takes the place of any other.
onstart:
    require_data()
    lift_default_rate()


wildcard_constraints:
    model="|".join(EXPERIMENT.models),
    method="|".join(EXPERIMENT.methods),
    mode="partial|full",
    bits="|".join(EXPERIMENT.bits),
    seed=r"\d+(-\d+images)?",


def code_fingerprint(*modules):
    """Fingerprint of the given modules and all that they import. As a param, it reruns a rule when code that it uses has changed."""
    return CODE.of(*modules)


def model_code(*modules):
    """Fingerprint of the given modules and of the one that defines the network of the wildcard {model}, if the project has one."""
    return lambda wildcards: CODE.of(*modules, *filter(None, [SETTINGS.models[wildcards.model].module]))


def runtime(rule, threads=1):
    """What changes the results of a network besides code and settings: where it runs, on how many threads, and by which PyTorch."""
    stated = workflow.resource_settings.overwrite_threads.get(rule, threads)  # --set-threads
    return {"device": EXPERIMENT.device, "threads": stated, "torch": version("torch")}


def settings(part):
    """A part of the configuration as plain data. As a param, it reruns a rule when settings that it uses have changed."""
    return part.model_dump(mode="json")


def mem_per_attempt(mem_mb):
    """Memory of a job in MB, as much again at each further attempt. A cluster takes a job at its word, and kills it when it has more."""
    return lambda wildcards, attempt: mem_mb * attempt


def expand_runs(template, seeds=EXPERIMENT.seeds, models=EXPERIMENT.models):
    """``template`` for every model, seed, method, mode that the method defines, and bit-width of the experiment."""
    return [
        path
        for method in EXPERIMENT.methods
        for path in expand(
            template,
            model=models,
            seed=seeds,
            method=method,
            mode=[mode for mode in EXPERIMENT.modes if mode in SETTINGS.methods[method].modes],
            bits=EXPERIMENT.bits,
        )
    ]


def calibrate_arguments(wildcards):
    """What {seed} tells `qhyvit calibrate`: a seed, and as in 0-8images a number of images where it is not the experiment's."""
    seed, _, count = wildcards.seed.removesuffix("images").partition("-")
    return f"--seed {seed} --count {count}" if count else f"--seed {seed}"


def untracked_inputs(*paths):
    """Inputs that DVC does not track are watched by their time stamps where they are there, but not outside the project, where they may
    move. A plan does without them; the job says what is missing."""
    return [str(path) for path in paths if tracked_hash(path) is None and not env_variables(path) and path.exists()]


def reconstructs(method):
    """Tell if a method reconstructs bridge blocks, as Q-HyViT does."""
    return SETTINGS.methods[method].algorithm == "qhyvit"


def either(names):
    """Wildcard constraint: one of the names, or nothing at all where there are none."""
    return "|".join(names) or "(?!)"


def recalibration(wildcards):
    """Recalibration that a method reads, if it needs one. Full mode adds to partial mode, and searches nothing again."""
    key = SETTINGS.methods[wildcards.method].recalibration_key
    return (
        f"{RESULTS}/{{model}}/seed{{seed}}/recalibration-{key}-{{bits}}.safetensors"
        if key and wildcards.mode == "partial"
        else []
    )


def table_files(table):
    """Files of a table of the registry."""
    return [f"{REPORTS}/{table.path}.{suffix}" for suffix in table.formats]


def figure_files(figure):
    """Files of all instances of a figure of the registry that the experiment has."""
    return [f"{REPORTS}/{figure.path.format(**instance)}.svg" for instance in figure.instances(SETTINGS)]
