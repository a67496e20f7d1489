"""Numbers of configuration files: values of other kinds are refused, and sizes that no machine can hold."""

from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, SETTINGS_FILES, TINY_EXPERIMENT

from qhyvit.config.loading import load_config, read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE


def load(folder: Path, key: str, text: str):
    """Load the tiny experiment with the key, a path with points, replaced by a value in YAML."""
    content = yaml.safe_load(yaml.safe_dump(TINY_EXPERIMENT | SETTINGS_FILES))
    *sections, last = key.split(".")
    part = content
    for section in sections:
        part = part.setdefault(section, {})
    part[last] = "VALUE"
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content).replace("VALUE", text))
    return load_config(path).experiment


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("seeds", f"[{text}]") for text in ("yes", '" 2 "', "1_0.0", "3.0", "010", "1:30", '"3"')),
        *(("calibration.batch_size", text) for text in ("yes", "4.0", '"4"', "0x")),
        *(("dataset.crop_pct", text) for text in ("true", '"0.9"')),
        *(("dataset.mean", text) for text in ("[true, 0, 0]", '["0", 0, 0]')),
        ("calibration_sizes", "[yes]"),
        ("sensitivity.images", "on"),
        ("evaluation.shards", "1.0"),
    ],
)
def test_value_of_another_kind_is_refused(tmp_path, key, text):
    with pytest.raises(InputError, match=rf"config\.yaml: {key}(\.0)?: Input should be a valid (integer|number)") as error:
        load(tmp_path, key, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("setting", "value"), [("cross_validated", 1), ("cross_validated", "yes"), ("rounds", True), ("candidates", 10.0)])
def test_setting_of_a_method_of_another_kind_is_refused(tmp_path, setting, value):
    methods = {"qhyvit": yaml.safe_load(METHODS_FILE.read_text())["qhyvit"] | {setting: value, "ablation_of": None}}
    (tmp_path / "methods.yaml").write_text(yaml.safe_dump(methods))
    with pytest.raises(InputError, match=rf"qhyvit\.{setting}: Input should be a valid (integer|boolean)"):
        read_yaml(tmp_path / "methods.yaml", METHODS)


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("0.875", 0.875), ("9e-1", 0.9), ("9.5e-1", 0.95)])
def test_number_with_or_without_a_point_is_a_real_number(tmp_path, text, value):
    crop_pct = load(tmp_path, "dataset.crop_pct", text).dataset.crop_pct
    assert (crop_pct, type(crop_pct)) == (value, float)


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [
        *(("dataset.input_size", value, "less than or equal to 2048") for value in (2049, 10**9, 10**25)),
        *(("dataset.crop_pct", value, r"greater than or equal to 0\.1") for value in (0.099, 1e-3, 1e-12)),
        *(("calibration.batch_size", value, "less than or equal to 4096") for value in (4097, 10**25)),
        *(("evaluation.shards", value, "less than or equal to 2000") for value in (2001, 100_000)),
    ],
)
def test_size_that_no_run_ends_with_is_refused(tmp_path, key, value, bound):
    with pytest.raises(InputError, match=rf"config\.yaml: {key}: Input should be {bound} \(found {value}\)"):
        load(tmp_path, key, str(value))


@pytest.mark.parametrize(
    ("key", "value"),
    [("dataset.input_size", 2048), ("dataset.crop_pct", 0.1), ("calibration.batch_size", 4096), ("evaluation.shards", 2000)],
)
def test_size_at_the_bound_is_accepted(tmp_path, key, value):
    section, last = key.split(".")
    assert getattr(getattr(load(tmp_path, key, str(value)), section), last) == value


@pytest.mark.parametrize(("key", "bound"), [("size", 2048), ("batch_size", 4096), ("seed", 2**32 - 1)])
def test_size_of_training_is_bounded(tmp_path, key, bound):
    cycle = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())["training"]["mobilevit_xxs"][0]
    (cycle if key in cycle else cycle["phases"][0])[key] = bound + 1
    with pytest.raises(InputError, match=rf"{key}: Input should be less than or equal to {bound} "):
        load(tmp_path, "training", str({"mobilevit_xxs": [cycle]}))
