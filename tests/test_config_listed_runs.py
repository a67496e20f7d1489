"""Runs of an experiment: at least one, and those that `sensitivity` and `deployment` list each once, and none that it does not have."""

import pytest
import yaml
from conftest import SETTINGS_FILES, TINY_EXPERIMENT

from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE

OF_SECTION = {"sensitivity": lambda runs: {"sensitivity": runs}} | {
    f"deployment.{format}": lambda runs, format=format: {"deployment": {format: runs}} for format in ("openvino", "onnx")
}


def message_of(folder, changes):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(TINY_EXPERIMENT | SETTINGS_FILES | changes))
    with pytest.raises(InputError) as error:
        load_config(path)
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("section", OF_SECTION)
@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"methods": ["nope"]}, ".methods: the experiment has no 'nope'; add it to `methods` or remove it"),
        ({"methods": ["minmax"], "bits": ["w8a8"]}, ".bits: the experiment has no 'w8a8'; add it to `bits` or remove it"),
        ({"methods": ["minmax", "minmax"], "bits": ["w4a4"]}, ".methods lists a value twice; remove one"),
        ({"methods": ["minmax"], "bits": ["w4a4", "w4a4"]}, ".bits lists a value twice; remove one"),
        ({"methods": ["minmax"]}, ": it states methods but no bits, so that it has no runs; state bits too, or leave it out"),
        ({"bits": ["w4a4"]}, ": it states bits but no methods, so that it has no runs; state methods too, or leave it out"),
    ],
)
def test_run_that_the_experiment_lacks_or_that_is_there_twice_is_refused(tmp_path, section, runs, message):
    assert message_of(tmp_path, OF_SECTION[section](runs)) == section + message


@pytest.mark.parametrize("section", OF_SECTION)
def test_run_in_a_mode_that_the_experiment_lacks_is_refused(tmp_path, section):
    runs = OF_SECTION[section]({"methods": ["minmax"], "bits": ["w4a4"]})
    message = ": its runs are in mode partial, which the experiment does not have; add it to `modes`"
    assert message_of(tmp_path, runs | {"modes": ["full"]}) == section + message


def test_peer_twice_is_refused(tmp_path):
    assert message_of(tmp_path, {"deployment": {"peers": ["nncf", "nncf"]}}) == "deployment.peers lists a value twice; remove one"


def test_experiment_without_any_run_is_refused(tmp_path):
    changes = {"methods_file": str(METHODS_FILE), "methods": ["qhyvit-integer"], "modes": ["full"]}
    message = "modes: no method of `methods` has mode full; add partial, or a method that has it"
    assert message_of(tmp_path, changes) == message
