"""Configuration files: an experiment, its models and its methods, one of them mutated."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzz, mutated_bytes, mutated_text, mutated_tree, result_or_refusal

from qhyvit.config.loading import load_config
from qhyvit.config.reports import claim_reports_folder

CONFIG, MODELS, METHODS = FILES = ("config.yaml", "models.yaml", "methods.yaml")
LAUGHS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'ha'}]\n" for i in range(12))
ALIASES = ["&a [*a]", "&a {b: *a}", "{<<: *a}", "!!python/object:os.system {}", "&a [1]\nb: *c", "? [1]\n: 2", "2001-99-99", "[" * 400]
METHODS_TAKEN = ("percentile", "repqvit", "hyq", "qhyvit", "qhyvit-integer-tuned")


def _yaml(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / "config" / name).read_text())


def _contents() -> dict[str, Any]:
    """Content of each file; the methods are those of every kind of settings."""
    models = {name: entry for name, entry in _yaml("models.yaml").items() if name in ("mobilevit_xxs", "efficientformerv2_s0")}
    training = {"mobilevit_xxs": _yaml("config.yaml")["training"]["mobilevit_xxs"]}
    lists = {"models": list(models), "methods": list(METHODS_TAKEN), "bits": ["w8a8"]}
    experiment = TINY_EXPERIMENT | lists | {"models_file": MODELS, "methods_file": METHODS, "training": training}
    return {CONFIG: experiment, MODELS: models, METHODS: {name: _yaml("methods.yaml")[name] for name in METHODS_TAKEN}}


CONTENTS = _contents()


def read(scratch, name, changed):
    """Read the experiment with one of the files ``changed``, and check what was read."""
    for other, content in CONTENTS.items():
        (scratch / other).write_text(yaml.safe_dump(content, sort_keys=False))
    content = changed if isinstance(changed, str | bytes) else yaml.safe_dump(changed)
    (scratch / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    config = result_or_refusal(partial(load_config, Path(CONFIG), allow_unset_env=True), *FILES, "cannot be read")
    if config is None:
        return
    assert all(map(math.isfinite, _numbers(config.model_dump(mode="json"))))
    paths = [*config.experiment.dataset.label_paths, *map(config.weights_path, config.models), config.experiment.reports]
    for path in paths:
        path.exists()  # raises for what no path can be
    assert all(method.quantizer_settings for method in config.methods.values())


def _numbers(tree: Any) -> Iterator[float]:
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _numbers(value)
    elif isinstance(tree, int | float) and abs(tree) < 1e308:
        yield tree


@pytest.mark.parametrize("name", FILES)
@fuzz(0.2)
@given(data=st.data())
def test_values_of_other_kinds_are_refused_in_one_line(scratch, name, data):
    read(scratch, name, data.draw(mutated_tree(CONTENTS[name])))


@pytest.mark.parametrize("name", FILES)
@fuzz(0.2)
@given(data=st.data())
def test_changed_text_is_refused_in_one_line(scratch, name, data):
    text = yaml.safe_dump(CONTENTS[name])
    yaml_parts = st.builds(lambda place, part: text[:place] + part + text[place:], st.integers(0, len(text)), st.sampled_from(ALIASES))
    bytes_changed, cells = mutated_bytes(text.encode()), mutated_text(text, ":\n[], ").map(lambda text: text.encode("utf-8", "replace"))
    read(scratch, name, data.draw(st.one_of(bytes_changed, cells, yaml_parts)))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", [*ALIASES, LAUGHS, LAUGHS + "models: *a11", "", "[]", "\0", "- 1", "a: 1\na: 2"])
def test_hostile_yaml_is_refused_in_one_line(scratch, name, text):
    read(scratch, name, text)


@fuzz(0.1)
@given(owner=st.binary(max_size=9))
@example(owner=b"\xff")
def test_owner_of_a_reports_folder_is_read_or_refused(scratch, owner):
    (scratch / CONFIG).write_text(yaml.safe_dump(CONTENTS[CONFIG] | {"reports": "owned"}))
    for name in (MODELS, METHODS):
        (scratch / name).write_text(yaml.safe_dump(CONTENTS[name]))
    (scratch / "owned").mkdir(exist_ok=True)
    (scratch / "owned/experiment.txt").write_bytes(owner)
    result_or_refusal(lambda: claim_reports_folder(load_config(Path(CONFIG)), Path(CONFIG)), "experiment.txt")
