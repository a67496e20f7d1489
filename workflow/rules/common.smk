import os
import sys
from importlib.metadata import version
from pathlib import Path

from snakemake.exceptions import WorkflowError

from qhyvit.config.environment import env_variables
from qhyvit.config.loading import load_config
from qhyvit.data.dvc import tracked_hash
from qhyvit.errors import InputError
from qhyvit.reporting.search_steps import STEPS
from workflow.scripts.fingerprint import CodeFingerprints

# The jobs read the configuration file themselves, so there must be exactly one and nothing beside it.
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
GPU = int(EXPERIMENT.device != "cpu")  # what jobs that run networks ask a cluster for
CODE = CodeFingerprints("qhyvit", by_value=["qhyvit.config"])

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
    """A plan needs no data, a run does: it stops here, before its first job."""
    try:
        load_config(Path(CONFIG))
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


def expand_runs(template, seeds=EXPERIMENT.seeds):
    """``template`` for every model, seed, method, mode that the method defines, and bit-width of the experiment."""
    return [
        path
        for method in EXPERIMENT.methods
        for path in expand(
            template,
            model=EXPERIMENT.models,
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


def modes():
    """The modes of the experiment that one of its methods defines."""
    return [mode for mode in EXPERIMENT.modes if any(mode in method.modes for method in SETTINGS.methods.values())]


def ablated(mode):
    """Whether the experiment has all steps of Q-HyViT's search in ``mode``."""
    return STEPS.keys() <= {name for name, method in SETTINGS.methods.items() if mode in method.modes}


def result_figures():
    """The figures of results.csv that the experiment has the runs for, as in accuracy-partial."""
    for mode in modes():
        yield from (f"accuracy-{mode}", f"drops-{mode}")
        if len(EXPERIMENT.seeds) > 1:
            yield f"seeds-{mode}"
        if ablated(mode):
            yield f"ablation-{mode}"


def report_text(name):
    """A caption of the HTML report, for a result that shares its rule with others."""
    return " ".join(Path(workflow.source_path(f"../report/{name}.rst")).read_text().split())
