"""Container recipe: what its linter, which `make lint` runs, does not see."""

import re
import tomllib

from conftest import REPOSITORY

PRIVATE = {"imagenet", ".dvc/cache", ".dvc/config.local"}
RECIPE = (REPOSITORY / "Dockerfile").read_text()


def test_python_of_the_image_is_that_of_the_lock():
    (image,) = re.findall(r"^FROM python:(\d+\.\d+)-slim-\w+$", RECIPE, flags=re.MULTILINE)
    assert f"--python-version {image} " in (REPOSITORY / "Makefile").read_text()
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"] == f">={image}"


def test_image_installs_by_the_lock_and_runs_as_a_user():
    assert re.search(r"^USER (?!root)\w+\n(.*\n)*RUN make install\n(.*\n)*CMD \[\"make\", \"reproduce\"\]$", RECIPE, flags=re.MULTILINE)


def test_what_a_run_writes_and_private_data_stay_out_of_the_image():
    ignored = {line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().splitlines()}
    left_out = set((REPOSITORY / ".dockerignore").read_text().splitlines()[1:])
    assert left_out - PRIVATE <= ignored
    assert left_out >= {".venv", "results", "data"} | PRIVATE
