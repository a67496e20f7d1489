"""Variables given to make: each is one word of a command, whatever characters it has, and none is run."""

import shutil
import subprocess

import pytest
from conftest import REPOSITORY

GIVEN = "a b; touch trap; 'c' `touch trap`"
PROGRAMS = ("python", "qhyvit", "dvc", "uv", "slurmctld", GIVEN)
RECORD = '#!/bin/sh\nprintf "%s\\n" "$@" >> "$RECORD"\n'
STAMPS = (".venv/.installed", ".venv/.cluster-installed")
DEFAULTS = "--name imagenet-3 --evaluation 3 --calibration 1 --seed 0 --classes 1000 --base config/experiments/imagenet.yaml"


@pytest.fixture
def recorded(tmp_path):
    """Run make in a folder where each program only records its arguments; return all of them."""
    for folder in ("bin", ".venv", "results/training"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("pyproject.toml", "requirements.lock", f"results/training/{GIVEN}.safetensors"):
        (tmp_path / file).touch()
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in PROGRAMS:
        (tmp_path / "bin" / name).write_text(RECORD)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "RECORD": str(tmp_path / "record")}

    def run(*arguments):
        command = ["make", "--silent", f"BIN={tmp_path}/bin", *arguments]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        assert not list(tmp_path.rglob("trap"))
        return (tmp_path / "record").read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("target", "variables", "word"),
    [
        ("weights", ["MODEL"], "results/training/{}.safetensors"),
        ("subset", ["NAME", "IMAGENET=/data"], "imagenet/{}"),
        *(("subset", [name, "IMAGENET=/data"], "{}") for name in ("NAME", "EVALUATION", "CALIBRATION", "SEED", "CLASSES", "BASE")),
        ("subset", ["IMAGENET"], "{}"),
        ("reproduce", ["CONFIG"], "{}"),
        ("reproduce", ["PROFILE"], "{}"),
        ("diff", ["REV"], "{}"),
        ("test-slurm", ["SLURM_TESTS"], "{}"),
    ],
)
def test_variable_is_one_word_and_runs_no_command(recorded, target, variables, word):
    name, *others = variables
    old = [f"--old-file={stamp}" for stamp in STAMPS]
    assert word.format(GIVEN) in recorded(target, *old, f"{name}={GIVEN}", *others)


@pytest.mark.parametrize(("variable", "word"), [("EXTRAS", f".[{GIVEN}]"), ("PYTHON", "venv")])
def test_variable_of_the_installation_is_one_word_and_runs_no_command(recorded, variable, word):
    assert word in recorded("install", "PYTHON=python", f"{variable}={GIVEN}")


def test_extras_of_the_installation_are_those_of_the_makefile(recorded):
    assert ".[dev,deploy]" in recorded("install", "PYTHON=python")


def test_subset_has_the_defaults_of_the_makefile(recorded):
    words = recorded("subset", f"--old-file={STAMPS[0]}", "IMAGENET=/data", "EVALUATION=3")
    assert DEFAULTS in " ".join(words)
