"""Bad input: one clear line on stderr, exit code 2, and nothing half-written. In-process, in a project whose data are in place."""

import pickle
import shutil
import sys

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, write_data

from qhyvit.cli import main


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template") / "project"
    root.mkdir()
    shutil.copytree(REPOSITORY / "config", root / "config")
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT))
    write_data(root)
    return root


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    root = tmp_path / "project"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def qhyvit(project, monkeypatch, capfd):
    """Run the command line and return its exit code and its lines on stderr."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["qhyvit", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capfd.readouterr().err.strip().splitlines()

    return run


FETCH_IMAGES = ("fetch", "images", "--config", "config/config.yaml", "--output", "out/images.csv")
FETCH_WEIGHTS = ("fetch", "weights", "--config", "config/config.yaml", "--model", "mobilevit_xxs", "--output", "out/weights.json")


def change_label(root):
    path = root / "data/tiny/evaluation/labels.csv"
    table = pd.read_csv(path)
    table.loc[3, "label"] = 2
    table.to_csv(path, index=False)


def truncate_image(root):
    path = root / "data/tiny/evaluation/003.png"
    path.write_bytes(path.read_bytes()[:200])


def remove_image(root):
    (root / "data/tiny/calibration/003.png").unlink()


def share_image(root):
    shutil.copy(root / "data/tiny/evaluation/004.png", root / "data/tiny/calibration/003.png")


def misspell_key(root):
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | {"seed": 0}))


def name_unknown_model(root):
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | {"models": ["resnet"]}))


def name_unknown_method(root):
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | {"methods": ["magic"]}))


def widen_head(root):
    changed = TINY_EXPERIMENT | {"dataset": TINY_EXPERIMENT["dataset"] | {"classes": 3}}
    (root / "config/config.yaml").write_text(yaml.safe_dump(changed))


def name_unset_variable(root):
    changed = TINY_EXPERIMENT | {"weights": "${NOT_SET_ANYWHERE}/{model}.safetensors"}
    (root / "config/config.yaml").write_text(yaml.safe_dump(changed))


def pickle_weights(root):
    (root / "data/weights/mobilevit_xxs.safetensors").write_bytes(pickle.dumps({"stem": 1}))


@pytest.mark.parametrize(
    ("spoil", "command", "message"),
    [
        (change_label, FETCH_IMAGES, "labels.csv: label '2' of 003.png is outside 0..1; correct it"),
        (truncate_image, FETCH_IMAGES, "003.png: not a whole image"),
        (remove_image, FETCH_IMAGES, "003.png: missing, but listed in"),
        (share_image, FETCH_IMAGES, "003.png: also an evaluation image (data/tiny/evaluation/004.png)"),
        (misspell_key, FETCH_IMAGES, "config.yaml: seed: Extra inputs are not permitted"),
        (name_unknown_model, FETCH_IMAGES, "unknown model 'resnet'"),
        (name_unknown_method, FETCH_IMAGES, "unknown method 'magic'"),
        (widen_head, FETCH_WEIGHTS, "mobilevit_xxs.safetensors: does not fit the model"),
        (name_unset_variable, FETCH_IMAGES, "config.yaml: weights: ${NOT_SET_ANYWHERE}/{model}.safetensors: NOT_SET_ANYWHERE is not set"),
        (pickle_weights, FETCH_WEIGHTS, "mobilevit_xxs.safetensors: not a safetensors file"),
    ],
)
def test_bad_input_is_one_line_and_code_2(project, qhyvit, spoil, command, message):
    spoil(project)
    code, lines = qhyvit(*command)
    assert code == 2
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert not list(project.glob("out/*"))


def test_good_input_passes_the_same_commands(project, qhyvit):
    assert qhyvit(*FETCH_IMAGES)[0] == 0
    assert qhyvit(*FETCH_WEIGHTS)[0] == 0
    manifest = pd.read_csv(project / "out/images.csv")
    assert manifest.split.value_counts().to_dict() == {"evaluation": 12, "calibration": 6}


def move_data(root):
    """Put images and weights elsewhere, where a variable names the place."""
    shutil.move(root / "data", root.parent / "elsewhere")
    folders = {"calibration": "${ELSEWHERE}/tiny/calibration", "evaluation": "${ELSEWHERE}/tiny/evaluation"}
    changes = {"dataset": TINY_EXPERIMENT["dataset"] | folders, "weights": "${ELSEWHERE}/weights/{model}.safetensors"}
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | changes))


def test_data_elsewhere_are_found_by_a_variable_and_leave_no_path_behind(project, qhyvit, monkeypatch):
    move_data(project)
    monkeypatch.setenv("ELSEWHERE", str(project.parent / "elsewhere"))
    assert qhyvit(*FETCH_IMAGES)[0] == 0
    assert qhyvit(*FETCH_WEIGHTS)[0] == 0
    assert len(pd.read_csv(project / "out/images.csv")) == 18
    written = [*project.glob("out/*"), project / "config/weights.lock.yaml"]
    assert len(written) == 3
    assert not [path for path in written if str(project.parent) in path.read_text()]


def test_an_unknown_option_is_code_2(qhyvit):
    assert qhyvit("quantize", "--bit", "w8a8")[0] == 2


@pytest.mark.parametrize("command", ["paired", "ablation"])
def test_a_file_that_is_not_there_is_named_in_one_line(qhyvit, tmp_path, command):
    missing = str(tmp_path / "hits.csv")
    code, lines = qhyvit(command, missing, "--table", str(tmp_path / "t.csv"), "--markdown", str(tmp_path / "t.md"))
    assert code == 2
    (line,) = lines
    assert missing in line
    assert line.endswith("run the command that writes the file")


def test_help_lists_the_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["qhyvit", "--help"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    for command in ("fetch", "train", "calibrate", "quantize", "evaluate", "challenges", "inspect", "aggregate", "compare", "diff", "plot"):
        assert f" {command} " in text


def test_evaluate_wants_an_output_for_each_quantized_network(qhyvit, project):
    paths = ("--images", "images.csv", "--logits", "fp32.safetensors", "--quantized", "a", "--quantized", "b", "--output", "out/a.json")
    code, lines = qhyvit("evaluate", "--config", "config/config.yaml", "--model", "mobilevit_xxs", *paths)
    assert code == 2
    assert lines == ["qhyvit: 1 --output for 2 --quantized; give one for each"]
    assert not (project / "out").exists()


def test_inspect_writes_the_description_and_the_drawing(qhyvit, project):
    code, _ = qhyvit("inspect", "mobilevit_xxs", "--json", "out/sites.json", "--svg", "out/sites.svg")
    assert code == 0
    assert '"bridge_blocks"' in (project / "out/sites.json").read_text()
    assert (project / "out/sites.svg").read_text().startswith("<?xml")
