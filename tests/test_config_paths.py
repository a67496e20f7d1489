"""Paths of an experiment: of its base, and what only a shell would replace in them."""

from pathlib import Path

import pytest
import yaml
from conftest import SETTINGS_FILES, TINY_EXPERIMENT

from qhyvit.config.environment import expand_env
from qhyvit.config.loading import load_config
from qhyvit.errors import InputError


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load the tiny experiment with changes from a file in its folder."""
    monkeypatch.chdir(tmp_path)

    def load(changes, name="config.yaml"):
        Path(name).write_text(yaml.safe_dump(TINY_EXPERIMENT | SETTINGS_FILES | changes))
        return load_config(Path(name)).experiment

    return load


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nope.yaml", "nope.yaml: cannot be read (No such file or directory); give the path of a configuration file"),
        ("a\0b", "a path has a line end or another character that is not printed, or a name that is too long; correct it"),
        ("a" * 256, "a path has a line end or another character that is not printed, or a name that is too long; correct it"),
        ("~/x.yaml", "~/x.yaml: ~ is not replaced by a home folder; write the path in full"),
        ("middle.yaml", "middle.yaml: base: lost.yaml: cannot be read (No such file or directory); give the path of a configuration file"),
    ],
)
def test_fault_of_a_base_names_the_file_and_the_key(load, base, message):
    Path("middle.yaml").write_text("base: lost.yaml")
    with pytest.raises(InputError) as error:
        load({"base": base})
    assert str(error.value) == f"config.yaml: base: {message}"


def of_dataset(key, path):
    return {"dataset": TINY_EXPERIMENT["dataset"] | {key: path}}


@pytest.mark.parametrize("path", ["$1/x", "${}/x", "data/$", "${a-b}/x"])
@pytest.mark.parametrize("key", ["calibration", "evaluation", "weights"])
def test_dollar_without_a_name_is_refused(load, key, path):
    stated = f"{path}/{{model}}" if key == "weights" else path
    with pytest.raises(InputError, match=r"a \$ begins the name of an environment variable, as in \$\{IMAGENET\}/train; correct the name"):
        load({"weights": stated} if key == "weights" else of_dataset(key, stated))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"weights": "~/{model}.safetensors"}, "weights"),
        (of_dataset("evaluation", "~/val"), "dataset.evaluation"),
        (of_dataset("calibration", "~me/val"), "dataset.calibration"),
        *(({key: "~/x"}, key) for key in ("decoded", "models_file", "methods_file")),
    ],
)
def test_home_folder_is_refused(load, changes, key):
    with pytest.raises(InputError, match=rf"^config\.yaml: {key}: ~\S+: ~ is not replaced by a home folder; write the path in full$"):
        load(changes)


@pytest.mark.parametrize("key", ["decoded", "models_file", "methods_file"])
def test_variable_that_is_not_replaced_is_refused(load, key):
    with pytest.raises(InputError, match=rf"{key}: \$\{{SCRATCH\}}/x: the variable SCRATCH is replaced only in dataset and weights"):
        load({key: "${SCRATCH}/x"})


def test_dollar_of_a_folder_is_written_twice(load):
    assert expand_env(load(of_dataset("evaluation", "a$$b")).dataset.evaluation) == Path("a$b")
