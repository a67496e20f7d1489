"""Numbers of configuration files: values of other kinds are refused, and sizes that no machine can hold."""

from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT

from qhyvit.config.loading import load_config, read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE

FILES = {name: str(REPOSITORY / f"config/{name.removesuffix('_file')}.yaml") for name in ("models_file", "methods_file")}


def load(folder: Path, key: str, text: str):
    """Load the tiny experiment with the key, a path with points, replaced by a value in YAML."""
    content = yaml.safe_load(yaml.safe_dump(TINY_EXPERIMENT | FILES))
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
