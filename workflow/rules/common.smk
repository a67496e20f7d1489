import os
import socket
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from snakemake.exceptions import WorkflowError
from snakemake.io import contains_wildcard
from snakemake.logging import logger

from qhyvit.cli.forwarding import ADDRESS
from qhyvit.commit import UNKNOWN, git_commit
from qhyvit.config.dataset import PREPROCESSING
from qhyvit.config.deployment import PEER_BITS, PEER_FORMATS
from qhyvit.config.environment import env_variables
from qhyvit.config.loading import load_config
from qhyvit.config.models import OF_NETWORK
from qhyvit.config.reports import claim_reports_folder
from qhyvit.data.dvc import tracked_hash
from qhyvit.data.stamps import WEIGHTS, data_state, places_of
from qhyvit.errors import InputError
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import FIGURES, RESULTS as RESULTS_PAGE, TABLES
from qhyvit.reporting.tables.configuration import software
from workflow.scripts.allocator import KEEP_FREED_MEMORY
from workflow.scripts.code_behind import COLUMNS as CODE_COLUMNS, code_rows, fingerprints, method_modules

# The jobs read the configuration file themselves, so there must be exactly one, and no other source of settings.
if len(workflow.configfiles) != 1 or workflow.config_settings.config:
    raise WorkflowError("give one --configfile and no --config; change settings in the configuration file")

CONFIG = os.path.relpath(workflow.configfiles[0])

try:
    SETTINGS = load_config(Path(CONFIG), allow_unset_env=True)
except InputError as error:
    raise WorkflowError(str(error))

EXPERIMENT = SETTINGS.experiment
config.update(EXPERIMENT.model_dump(mode="json"), file=CONFIG)  # for the HTML report: with the keys of its base
RESULTS = f"{EXPERIMENT.results}/{EXPERIMENT.dataset.name}"
BENCHMARKS = f"{EXPERIMENT.results}/benchmarks/{EXPERIMENT.dataset.name}"
LOGS = f"logs/{EXPERIMENT.dataset.name}"
REPORTS = str(EXPERIMENT.reports)
METHODS = asdict(read_catalog(EXPERIMENT.methods_file))  # names and order of methods in tables and figures
EXPERIMENT_TABLES = [table for table in TABLES.values() if table.available(SETTINGS)]
EXPERIMENT_FIGURES = [figure for figure in FIGURES.values() if figure.instances(SETTINGS)]
GPU = int(EXPERIMENT.device != "cpu")  # GPUs of jobs that run networks, on a cluster
CODE = fingerprints()

# Jobs use the commands of the environment that Snakemake runs in, and its configuration file, whose name is no param since results do not
# depend on it.
os.environ |= KEEP_FREED_MEMORY | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    "QHYVIT_CONFIG": CONFIG,
}


# On a cluster these run next to Snakemake: a node may have no network.
localrules:
    fetch_images,
    fetch_weights,
    fetch_cifar10,


def check_run():
    """Stop a run before its first job if its data are not where the environment says, or its folder of reports is another experiment's.

    A plan needs no data and writes no reports."""
    try:
        load_config(Path(CONFIG))
        claim_reports_folder(SETTINGS, Path(CONFIG))
    except InputError as error:
        raise WorkflowError(str(error))


def lift_default_rate():
    """Lift the default limit of 100 jobs per second, under which Snakemake looks for jobs to start once per second for each finished job:
    after some hundreds of jobs it does little else, on a core that the jobs need."""
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def say_if_commit_is_unknown():
    """Warn that results will not tell the commit of the code, in a copy without git: a checkout that git refuses warns itself."""
    if git_commit() == UNKNOWN:
        logger.warning("results record the commit as unknown, since git knows none here; they do not depend on it")


def start_fork_server():
    """Start what runs short commands in forks of processes with loaded networks, for jobs on this machine that use no GPU."""
    if GPU or not workflow.local_exec or not hasattr(os, "fork"):
        return
    address = Path(mkdtemp(prefix="qhyvit-")) / "socket"  # for this user alone, and removed by the server
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(address))
        except OSError as error:  # some file systems have no sockets, and paths have to be short
            logger.info(f"commands run without a fork server: {address}: {error}")
            address.parent.rmdir()
            return
        listener.listen(256)
        subprocess.Popen(
            [sys.executable, "-m", "qhyvit.cli.fork_server", str(listener.fileno()), str(os.getpid())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    os.environ[ADDRESS] = str(address)


# Snakemake has one such hook: a second one would replace it.
onstart:
    check_run()
    say_if_commit_is_unknown()
    lift_default_rate()
    start_fork_server()


wildcard_constraints:
    model="|".join(EXPERIMENT.models),
    method="|".join(EXPERIMENT.methods),
    mode="partial|full",
    bits="|".join(EXPERIMENT.bits),
    seed=r"\d+(-\d+images)?",


def code_fingerprint(*modules):
    """Return the fingerprint of modules and all that they import. As a param, it reruns a rule when code that it uses has changed."""
    return CODE.of(*modules)


def model_code(*modules):
    """Return the fingerprint of modules and of the one that defines the network of the wildcard {model}, if the project has one."""
    return lambda wildcards: CODE.of(*modules, *filter(None, [SETTINGS.models[wildcards.model].module]))


def runtime(rule=None, threads=1):
    """Return what can change the results of a network besides code and the settings of its job: how images are transformed, device, threads
    and the version of PyTorch. Without a rule, the command has one thread whatever --set-threads says."""
    stated = workflow.resource_settings.overwrite_threads.get(rule, threads)  # --set-threads
    return {
        "preprocessing": EXPERIMENT.dataset.preprocessing,
        "device": EXPERIMENT.device,
        "threads": stated,
        "torch": version("torch"),
    }


def settings(part):
    """Return a part of the configuration as plain data. As a param, it reruns a rule when settings that it uses have changed."""
    return part.model_dump(mode="json")


def mem_per_attempt(mem_mb):
    """Return a resource: memory in MB times the attempt. A cluster kills a job that uses more than it asked for, and a retry asks for more."""
    return lambda wildcards, attempt: mem_mb * attempt


def quantize_mem_mb(wildcards, attempt):
    """Return the memory of a search, and of a tuning, whose backward passes keep all values of 32 images."""
    pixels = (EXPERIMENT.dataset.input_size or 256) ** 2
    tuned = SETTINGS.methods[wildcards.method].tuning
    return attempt * (4000 * max(pixels // 128**2, 1) if tuned else 2000)


def expand_runs(template, seeds=EXPERIMENT.seeds, models=EXPERIMENT.models):
    """Expand ``template`` for every model, seed, method, mode that the method defines, and bit-width of the experiment."""
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
    """Return the options of `qhyvit calibrate` for the wildcard {seed}: a seed, or as in 0-8images a seed and a number of images."""
    seed, _, count = wildcards.seed.removesuffix("images").partition("-")
    return ["--seed", seed, "--count", count] if count else ["--seed", seed]


def repeated(option, values):
    """Return an option before each of its values, as words for a shell command to quote."""
    return [word for value in values for word in (option, value)]


def untracked_inputs(*paths):
    """Return the existing paths that DVC does not track, for Snakemake to watch their time stamps.

    Paths with a variable of the environment are left out, since they may move; missing ones too, since a plan does without them. Raises
    WorkflowError for a name that Snakemake would read as a pattern.
    """
    watched = [str(path) for path in paths if tracked_hash(path) is None and not env_variables(path) and path.exists()]
    for path in filter(contains_wildcard, watched):
        raise WorkflowError(f"{path}: Snakemake reads the braces in this name as a wildcard; rename it")
    return watched


@cache
def state_of(stamps, file=None, done="checked"):
    """Return the state of the images, or of a single file, whose stamps a file has, and say if they have changed since."""
    places = places_of(EXPERIMENT.dataset) if file is None else {WEIGHTS: file}
    state, changed = data_state(Path(stamps), places)
    for path in changed[:1]:
        logger.warning(f"{path}: has changed since it was {done}, so that it is {done} again")
    return state


def reconstructs(method):
    """Tell if a method reconstructs bridge blocks."""
    return SETTINGS.methods[method].algorithm == "qhyvit"


def either(names):
    """Return a wildcard constraint that matches the names, or nothing if there are none."""
    return "|".join(names) or "(?!)"


def recalibration(wildcards):
    """Return the recalibration that a method reads, if it needs one. Full mode reads none: it takes the operands from partial mode."""
    key = SETTINGS.methods[wildcards.method].recalibration_key
    return (
        f"{RESULTS}/{{model}}/seed{{seed}}/recalibration-{key}-{{bits}}.safetensors"
        if key and wildcards.mode == "partial"
        else []
    )


def table_files(table):
    """List the files of a table of the registry."""
    return [f"{REPORTS}/{table.path}.{suffix}" for suffix in table.formats]


def figure_files(figure):
    """List the files of all instances of a figure of the registry that the experiment has."""
    return [f"{REPORTS}/{figure.path.format(**instance)}.svg" for instance in figure.instances(SETTINGS)]


# An evaluation follows each search and takes longest, and a figure takes seconds: in this order no core is idle for long at the end.
SEARCH_PRIORITY, EVALUATION_PRIORITY = 2, 1


# Method, or tool of another project, whose network is exported.
DEPLOYED = f"{RESULTS}/{{model}}/seed{{seed}}/deployed/{{method}}-{{bits}}"
EXPORTABLE = f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-partial-{{bits}}.safetensors"
FORMAT_FILES = {"openvino": ["xml", "bin"], "onnx": ["onnx"]}
PEERS = EXPERIMENT.deployment.peers


def engines():
    """Return the installed versions of the engines and the tools, which decide their results. A job names the missing ones."""
    return {name: version(name) for name in ("nncf", "onnx", "onnxruntime", "openvino") if find_spec(name)}


def of_peer(wildcards):
    """Tell if a run is that of another tool."""
    return wildcards.method in PEERS


def deployed_runs(models):
    """List the results of all exported runs of the models."""
    return [
        f"{DEPLOYED}-{run.format}.json".format(model=model, seed=seed, method=run.method, bits=run.bits)
        for run in EXPERIMENT.deployment.runs
        for model in models
        for seed in EXPERIMENT.seeds
    ]
