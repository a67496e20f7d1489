"""Which figures of results an experiment plans: those that it has the runs for."""

import re
import shutil

import pytest
from conftest import REPOSITORY, Project

PAPER = {"accuracy-partial", "drops-partial"}


@pytest.fixture
def project(tmp_path) -> Project:
    """The workflow, its configuration and the published tables, without data."""
    for name in ("workflow", "src", "profiles", "config", "reports/paper"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", tmp_path)
    shutil.copy(REPOSITORY / "data.dvc", tmp_path)
    return Project(tmp_path)


@pytest.mark.parametrize(
    ("config", "figures"),
    [
        ("config", PAPER),
        ("all-methods", PAPER | {"ablation-partial"}),
        ("full-mode", {"accuracy-full", "drops-full"}),  # the steps of the ablation have no full mode
        ("ablation", PAPER | {"ablation-partial", "seeds-partial"}),
    ],
)
def test_figures_of_results(project, config, figures):
    planned = project.run("-m", "snakemake", "--dry-run", "--configfile", f"config/{config}.yaml").stdout
    assert set(re.findall(r"output: \S*/figures/((?:accuracy|drops|seeds|ablation)-\w+)\.svg", planned)) == figures
