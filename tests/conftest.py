"""Shared fixtures: reproducible random numbers, one thread per operator, and a small project that the workflow can run in."""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from filelock import FileLock
from hypothesis import settings
from PIL import Image
from safetensors.torch import save_file
from xdist.scheduler import LoadFileScheduling

from qhyvit.calibration.capture import capture
from qhyvit.calibration.output_samples import OutputCollector
from qhyvit.graph.output_sites import find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.torchvision_compat import ensure_torchvision
from workflow.scripts.snakemake_log import planned, read_jobs

REPOSITORY = Path(__file__).parents[1]
ensure_torchvision()  # before a module of tests imports timm
settings.register_profile("untimed", deadline=None, derandomize=True)  # the same examples in each run, on a busy machine too
settings.register_profile("fuzz", deadline=None, max_examples=6_000)  # of each test of tests/fuzz, in minutes
settings.load_profile("untimed")


class ByFile(LoadFileScheduling):
    """A process runs all tests of a file, and one process all files that trace networks of the paper, each network once."""

    def _split_scope(self, nodeid):
        name = super()._split_scope(nodeid)
        return "networks" if "traced_network" in (REPOSITORY / name).read_text() else name


def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """Start the longest tests first, those that run the workflow, so that no process is idle at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


def make_task(graph_module, batches, method, weight_bits=8, activation_bits=8, positions=None):
    """A task to quantize a traced graph, calibrated on the given batches."""
    network = TracedModel(graph_module, find_sites(graph_module), find_output_sites(graph_module))
    tensors = OutputCollector(network.output_sites, len(batches), seed=0)
    statistics = capture(graph_module, network.sites, batches, positions, seed=0, collectors=[tensors])
    calibration = CalibrationImages(lambda: list(batches), positions, seed=0)
    return Task(network, statistics, tensors.statistics(), calibration, method, weight_bits, activation_bits)


@pytest.fixture(autouse=True)
def _reproducible():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@dataclass
class Project:
    """Copy of the repository's workflow and source, with a small image set and network in a DVC remote of its own."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        binaries = str(Path(sys.executable).parent)
        self.environment = os.environ | {"PYTHONPATH": str(self.root / "src"), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, *command],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or result.returncode == 0, result.stdout
        return result

    def plan(self, *arguments: str) -> "Plan":
        return Plan(self.run("-m", "snakemake", "--dry-run", *arguments).stdout)

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("workflow/scripts/run.py", *arguments, check=check)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "workflow/scripts/run.py", *arguments]
        return subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def configure(self, **changes: object) -> None:
        path = self.root / "config" / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))

    def git_status(self) -> list[str]:
        status = subprocess.run(["git", "status", "--porcelain"], cwd=self.root, stdout=subprocess.PIPE, text=True, check=True)
        return status.stdout.splitlines()

    def bytes_of(self, *names: str) -> list[bytes]:
        return [(self.root / name).read_bytes() for name in names]


class Plan:
    """Jobs that `snakemake --dry-run` lists."""

    def __init__(self, text: str):
        self.counts = defaultdict(int, planned(text))
        self.jobs = read_jobs(text).values()

    def changed(self) -> set[str]:
        """Rules with a job that runs because its params have changed, and not only its inputs."""
        return {job.rule for job in self.jobs if "Params have changed" in job.reason}

    def outputs(self) -> list[str]:
        return [path for job in self.jobs for path in job.output]


def write_images(folder: Path, count: int, seed: int, classes: int = 2) -> None:
    """A folder of ``count`` random images with labels.csv."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    names = [f"{index:03d}.png" for index in range(count)]
    for name in names:
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name)
    pd.DataFrame({"filename": names, "label": [index % classes for index in range(count)]}).to_csv(folder / "labels.csv", index=False)


SETTINGS_FILES = {name: str(REPOSITORY / f"config/{name.removesuffix('_file')}.yaml") for name in ("models_file", "methods_file")}
TINY_EXPERIMENT = {
    "dataset": {
        "name": "tiny",
        "classes": 2,
        "calibration": "data/tiny/calibration",
        "evaluation": "data/tiny/evaluation",
        "input_size": 64,
        "crop_pct": 1.0,
    },
    "weights": "data/weights/{model}.safetensors",
    "models": ["mobilevit_xxs"],
    "methods": ["minmax", "qhyvit"],
    "modes": ["partial"],
    "bits": ["w4a4"],
    "seeds": [0],
    "calibration": {"images": 4, "sampled_positions": 4, "batch_size": 4},
    "reports": "reports",
}


TINY_MODEL = {"family": "Tiny", "constructor": "tiny_hybrid", "module": "tiny_hybrid"}


def write_weights(path: Path, classes: int, **model: str) -> None:
    """Random weights of a network."""
    from qhyvit.config.models import Model
    from qhyvit.models.zoo import build

    torch.manual_seed(0)
    network = build(Model(**model), classes)
    path.parent.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)


def write_data(root: Path) -> None:
    """Images of the tiny experiment."""
    write_images(root / "data/tiny/calibration", 6, seed=1)
    write_images(root / "data/tiny/evaluation", 12, seed=2)


def copy_repository(root: Path) -> None:
    """The workflow, its source and configuration, and the published tables."""
    for name in ("workflow", "src", "profiles", "config", "resources/published"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", ".gitignore"):
        shutil.copy(REPOSITORY / name, root)


def commit_everything(root: Path) -> None:
    """Make ``root`` a git repository with one commit."""
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init"], ["add", "--all"], [*author, "commit", "--message", "all"]):
        subprocess.run(["git", *command], cwd=root, stdout=subprocess.DEVNULL, check=True)


def make_project(root: Path) -> Project:
    """Make a project in ``root`` whose data are only in its DVC remote."""
    copy_repository(root)
    methods = yaml.safe_load((root / "config/methods.yaml").read_text())
    methods["qhyvit"] |= {"candidates": 3, "rounds": 1}
    (root / "config/methods.yaml").write_text(yaml.safe_dump(methods, sort_keys=False))
    models = yaml.safe_load((root / "config/models.yaml").read_text())
    (root / "config/models.yaml").write_text(yaml.safe_dump(models | {"tiny_hybrid": TINY_MODEL}))
    shutil.copy(REPOSITORY / "tests/tiny_hybrid.py", root / "src")
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | {"models": ["tiny_hybrid"]}))
    project = Project(root)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    (root / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / name, root / name)
    write_data(root)
    write_weights(root / "data/weights/tiny_hybrid.safetensors", 2, **TINY_MODEL)
    (root / "data.dvc").write_text("outs:\n- path: data/tiny\n- path: data/weights/tiny_hybrid.safetensors\n")
    for command in (["commit", "--force", "data.dvc"], ["push"]):
        project.run("-m", "dvc", "--quiet", *command)
    shutil.rmtree(root / "data")
    shutil.rmtree(root / ".dvc/cache")
    commit_everything(root)
    return project


def copy_project(project: Project, root: Path) -> Project:
    """Copy a project to ``root``, time stamps included."""
    locks = shutil.ignore_patterns("index.lock")  # of a git that runs there for another worker
    shutil.copytree(project.root, root, symlinks=True, ignore=locks)
    return Project(root)


@pytest.fixture
def clone(tmp_path) -> Project:
    """The project as its users clone it, as far as the workflow needs it, and without its data."""
    root = tmp_path / "clone"
    copy_repository(root)
    for name in ("data.dvc", ".dvcignore"):
        shutil.copy(REPOSITORY / name, root)
    commit_everything(root)
    return Project(root)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Iterator[Path]:
    """A folder for all examples of a module's tests, which run in it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("scratch")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that all processes of a test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def make_once(root: Path, make: Callable[[Path], Project]) -> Project:
    """Make a project in a folder that processes share, or wait for the process that makes it."""
    with FileLock(f"{root}.lock"):
        if not root.exists():
            make(root.with_name(f"unfinished-{root.name}")).root.rename(root)
    return Project(root)


@pytest.fixture(scope="session")
def tiny(shared) -> Project:
    """The tiny project before its first run. Tests leave its files as they are."""
    return make_once(shared / "tiny", make_project)


@pytest.fixture(scope="session")
def finished(tiny, shared) -> Project:
    """The tiny project after a whole run. Tests leave its files as they are."""

    def run(root: Path) -> Project:
        project = copy_project(tiny, root)
        project.snakemake("--report", "reports/report.html", "--report-after-run")
        return project

    return make_once(shared / "finished", run)


@pytest.fixture
def fresh(tiny, tmp_path) -> Project:
    """A copy of the tiny project before its first run."""
    return copy_project(tiny, tmp_path / "project")


@pytest.fixture
def copy(finished, tmp_path) -> Project:
    """A copy of the tiny project after a whole run."""
    return copy_project(finished, tmp_path / "project")
