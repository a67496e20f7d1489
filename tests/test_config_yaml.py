"""Text of configuration files: keys that are there twice, and numbers as YAML 1.2 reads them."""

from pathlib import Path

import pytest
import yaml
from conftest import TINY_EXPERIMENT

from qhyvit.config.loading import load_config, read_yaml
from qhyvit.config.models import MODELS
from qhyvit.config.yaml_loader import parse_yaml
from qhyvit.errors import InputError

CONFIG = Path("config.yaml")
MODEL = "net: {family: A, constructor: resnet18}\n"


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("seeds: [0]\n\nseeds: [1]\n", "key seeds is there twice, lines 1 and 3; remove one"),
        ('calibration: {images: 4, "images": 8}\n', "key images is there twice, lines 1 and 1; remove one"),
        ("training:\n  <<: &a {x: []}\n  <<: {y: []}\n", "key << is there twice, lines 2 and 3; remove one"),
    ],
)
def test_key_twice_is_named_with_its_lines(tmp_path, monkeypatch, added, message):
    monkeypatch.chdir(tmp_path)
    CONFIG.write_text(added + yaml.safe_dump(TINY_EXPERIMENT))
    with pytest.raises(InputError) as error:
        load_config(CONFIG)
    assert str(error.value) == f"config.yaml: {message}"


def test_model_twice_is_named_with_its_lines(tmp_path):
    path = tmp_path / "models.yaml"
    path.write_text(f"# mine\n{MODEL}{MODEL}")
    with pytest.raises(InputError, match=r"models\.yaml: key net is there twice, lines 2 and 3; remove one$"):
        read_yaml(path, MODELS)


def test_key_next_to_an_alias_replaces_the_merged_one():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3, y: 3}\nd: {<<: [*a, *b]}\n"
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0", 0), ("-12", -12), ("+7", 7), ("1_000", 1000), ("0x1F", 31), ("0b11", 3)),
        *(("010", "010"), ("1:30", "1:30"), ("1:30.5", "1:30.5"), ("0o17", "0o17")),
        *(("1e-3", 0.001), ("2E4", 20000.0), ("1.5e3", 1500.0), (".5", 0.5), ("1.", 1.0), ("-0.25", -0.25), ("-.inf", float("-inf"))),
    ],
)
def test_number_is_that_of_its_decimal_digits(text, value):
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)
