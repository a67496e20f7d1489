"""Folders that an experiment writes to: a folder of other files is refused before anything is written there."""

from pathlib import Path

import pytest
import yaml
from conftest import SETTINGS_FILES, TINY_EXPERIMENT

from qhyvit.config.loading import load_config
from qhyvit.errors import InputError


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load the tiny experiment with changes from a file in its folder."""
    monkeypatch.chdir(tmp_path)

    def load(name: str = "config.yaml", **changes: object):
        content = TINY_EXPERIMENT | SETTINGS_FILES | changes
        Path(name).write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return load_config(Path(name)).experiment

    return load


@pytest.mark.parametrize("key", ["results", "reports", "decoded"])
@pytest.mark.parametrize(
    ("folder", "fault"),
    [
        *((folder, "is or contains the folder of the run") for folder in (".", "/", "..", "../..", "a/..")),
        *(
            (folder, "is or lies in .*, which holds other files")
            for folder in ("data", "config", "src/x", ".git", "x/../workflow/y", "logs", "dvc-store/a", "reports/benchmarks")
        ),
        ("data/tiny/evaluation", "is or lies in data, which holds other files"),
    ],
)
def test_folder_of_other_files_is_refused(load, key, folder, fault):
    with pytest.raises(InputError, match=rf"^config\.yaml: {key}: \S+ {fault}; state another folder, of its own$"):
        load(**{key: folder})


@pytest.mark.parametrize("key", ["results", "reports", "decoded"])
@pytest.mark.parametrize("inner", ["", "/a"])
def test_folder_of_images_anywhere_is_refused(load, monkeypatch, key, inner):
    monkeypatch.setenv("PETS", "/mnt/pets" if key == "decoded" else "pets")
    images = {"calibration": "${PETS}/train", "evaluation": "${PETS}/val"}
    folder = f"/mnt/pets/val{inner}" if key == "decoded" else f"pets/val{inner}"
    with pytest.raises(InputError, match=rf"{key}: {folder} is or lies in dataset\.evaluation, which holds other files"):
        load(dataset=TINY_EXPERIMENT["dataset"] | images, **{key: folder})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reports": "results"}, "reports: results is, contains or lies in results, results;"),
        ({"reports": "./results/reports"}, "reports: results/reports is, contains or lies in results, results;"),
        ({"results": "reports/a"}, "reports: reports is, contains or lies in results, reports/a;"),
        ({"decoded": "reports/decoded"}, "reports: reports is, contains or lies in decoded, reports/decoded;"),
        ({"results": "a/b", "decoded": "a"}, "decoded: a is or contains results, a/b;"),
        ({"decoded": "results"}, "decoded: results is or contains results, results;"),
    ],
)
def test_folder_within_another_is_refused(load, changes, message):
    with pytest.raises(InputError) as error:
        load(**changes)
    assert str(error.value) == f"config.yaml: {message} state another folder, of its own"


@pytest.mark.parametrize(
    "changes",
    [
        {"reports": "reports/a/b"},
        {"decoded": "results/x", "results": "results"},
        {"decoded": "/scratch/decoded", "results": "/scratch/results", "reports": "../reports"},
        {"results": "database", "reports": "src-reports"},
        {"dataset": TINY_EXPERIMENT["dataset"] | {"calibration": "."}, "reports": "reports"},
    ],
)
def test_folder_of_its_own_is_accepted(load, changes):
    experiment = load(**changes)
    folders = changes.keys() - {"dataset"}
    assert {key: str(getattr(experiment, key)) for key in folders} == {key: changes[key] for key in folders}


@pytest.mark.parametrize("name", ["..yaml", "...yaml"])
def test_name_of_points_alone_gives_no_reports_folder(load, name):
    with pytest.raises(InputError, match=rf"^{name}: reports: missing, and the name of the file gives none; rename the file or add"):
        load(name, reports=None)
    assert load(name, reports="own").reports == Path("own")
