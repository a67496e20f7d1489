"""Bad input: one clear line on stderr, exit code 2, and nothing half-written. In-process, in a project whose data are in place."""

import inspect
import pickle
import re
import shutil
import sys
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd
import pytest
import torch
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, write_data, write_weights
from safetensors.torch import save

from qhyvit import cli
from qhyvit.cli import fetch, main, make_app
from qhyvit.cli.lazy import LazyCommand
from workflow.scripts.words import FORBIDDEN, MAX_WORDS, OPENERS, sentences


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template") / "project"
    root.mkdir()
    shutil.copytree(REPOSITORY / "config", root / "config")
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT))
    write_data(root)
    write_weights(root / "data/weights/mobilevit_xxs.safetensors", 2, family="", constructor="mobilevit_xxs")
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


def lengthen_name(root):
    (root / "data/tiny/calibration/labels.csv").write_text(f"filename,label\n{'long' * 100}.png,0\n")


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
        (change_label, FETCH_IMAGES, "labels.csv: label '2' of 003.png (line 5) is outside 0..1; correct it"),
        (truncate_image, FETCH_IMAGES, "003.png: damaged or no image (image file is truncated"),
        (truncate_image, FETCH_IMAGES, "; replace it with an intact copy, or remove it"),
        (remove_image, FETCH_IMAGES, "003.png: missing, but listed in"),
        (lengthen_name, FETCH_IMAGES, "long.png: missing, but listed in"),
        (share_image, FETCH_IMAGES, "003.png: also an evaluation image (data/tiny/evaluation/004.png)"),
        (misspell_key, FETCH_IMAGES, "config.yaml: seed: unknown key; correct its spelling or remove it"),
        (name_unknown_model, FETCH_IMAGES, "unknown model 'resnet'"),
        (name_unknown_method, FETCH_IMAGES, "unknown method 'magic'"),
        (widen_head, FETCH_WEIGHTS, "mobilevit_xxs.safetensors: does not fit the model"),
        (name_unset_variable, FETCH_IMAGES, "config.yaml: weights: ${NOT_SET_ANYWHERE}/{model}.safetensors: NOT_SET_ANYWHERE is not set"),
        (pickle_weights, FETCH_WEIGHTS, "mobilevit_xxs.safetensors: not a safetensors file"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(project, qhyvit, spoil, command, message):
    spoil(project)
    code, lines = qhyvit(*command)
    assert code == 2
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert not list(project.glob("out/*"))


def test_good_input_passes_these_commands(project, qhyvit):
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


def test_data_behind_a_variable_leave_no_path_in_files(project, qhyvit, monkeypatch):
    move_data(project)
    monkeypatch.setenv("ELSEWHERE", str(project.parent / "elsewhere"))
    assert qhyvit(*FETCH_IMAGES)[0] == 0
    assert qhyvit(*FETCH_WEIGHTS)[0] == 0
    assert len(pd.read_csv(project / "out/images.csv")) == 18
    written = [*project.glob("out/*"), project / "reports/weights.lock.yaml"]
    assert len(written) == 3
    assert not [path for path in written if str(project.parent) in path.read_text()]


def test_unknown_option_ends_with_code_2(qhyvit):
    assert qhyvit("quantize", "--bit", "w8a8")[0] == 2


def test_unknown_model_or_method_names_the_known_ones(qhyvit):
    paths = ("--images", "images.csv", "--calibration", "c", "--output", "o", "--errors", "e", "--bits", "w8a8", "--mode", "partial")
    for names, message in (
        (("resnet", "minmax"), "no model 'resnet', only mobilevit_xxs"),
        (("mobilevit_xxs", "magic"), "no method 'magic', only minmax, qhyvit"),
    ):
        model, method = names
        code, lines = qhyvit("quantize", "--config", "config/config.yaml", "--model", model, "--method", method, *paths)
        assert (code, lines) == (2, [f"qhyvit: config/config.yaml: the experiment has {message}; choose one or add it"])


QUANTIZE = ("--images", "images.csv", "--output", "out/q", "--errors", "out/e", "--bits", "w8a8", "--mode", "partial")
EVALUATE = ("--images", "out/images.csv", "--output", "out/a.json", "--logits", "out/fp32.safetensors")


@pytest.mark.parametrize("content", [b"no tensors", save({"weight": torch.zeros(2)}), None], ids=["text", "weights", "missing"])
@pytest.mark.parametrize(
    ("command", "arguments", "option", "writer"),
    [
        ("quantize", ("--method", "minmax", *QUANTIZE), "--calibration", "`qhyvit calibrate`"),
        ("evaluate", EVALUATE, "--quantized", "`qhyvit quantize`, `qhyvit convert` or QuantizedModel.save"),
        ("evaluate", EVALUATE, "--shard", "`qhyvit predict`"),
    ],
)
def test_file_of_another_kind_ends_with_one_line_that_names_its_writer(qhyvit, project, content, command, arguments, option, writer):
    path = project / "wrong.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert qhyvit(*FETCH_IMAGES)[0] == 0
    code, lines = qhyvit(command, "--config", "config/config.yaml", "--model", "mobilevit_xxs", *arguments, option, path.name)
    assert code == 2
    (line,) = lines
    assert line.startswith(f"qhyvit: wrong.safetensors: not written by {writer}")
    assert sorted(path.name for path in project.glob("out/*")) == ["images.csv"]


def test_missing_file_is_named_in_one_line(qhyvit, project):
    code, lines = qhyvit("fetch", "checkpoint", "none.pt", "--output", "out/weights.safetensors")
    assert code == 2
    (line,) = lines
    assert "none.pt" in line


def test_missing_program_is_named_as_a_program(qhyvit, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, lines = qhyvit("diff", "--config", "config/config.yaml")
    assert (code, lines) == (2, ["qhyvit: git: no such program; install it, or add its folder to PATH"])


def test_help_lists_commands_by_panel_without_importing_them(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["qhyvit", "--help"])
    monkeypatch.setattr(LazyCommand, "load", lambda _: pytest.fail("a command is imported"))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    panels = "Quantize a model|Results and data of experiments|Steps of the workflow, which take an experiment"
    _, models, results, steps = re.split(f"─ (?:{panels}) ─", capsys.readouterr().out)
    for panel, commands in (
        (models, ("convert", "inspect")),
        (results, ("claims", "diff")),
        (steps, ("fetch", "calibrate", "quantize", "evaluate", "table", "figure")),
    ):
        assert all(f"│ {command} " in panel for command in commands)


def lazy_commands(group, path=""):
    for name, command in group.commands.items():
        if isinstance(command, LazyCommand):
            yield pytest.param(command, id=f"{path}{name}")
        else:
            yield from lazy_commands(command, f"{path}{name} ")


COMMANDS = list(lazy_commands(make_app()))


@pytest.mark.parametrize("command", COMMANDS)
def test_summary_is_the_first_line_of_the_docstring(command):
    function = getattr(import_module(command.module), command.function)
    assert command.help == inspect.getdoc(function).splitlines()[0]
    assert import_module(command.module).__doc__.startswith("Command `")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_text_is_a_plain_sentence_per_option(command):
    loaded = command.load()
    texts = {parameter.name: parameter.help for parameter in loaded.params if parameter.name != "help"} | {"": command.help}
    for name, text in texts.items():
        assert text, name
        assert text[0].isupper() or text.startswith("partial:"), text
        assert text.endswith("."), text
        assert not re.match(rf"({'|'.join(OPENERS)})\b", text), text
        assert not any(word.search(text) for word in FORBIDDEN), text
        assert all(len(sentence.split()) <= MAX_WORDS for sentence in sentences(text)), text


def test_every_module_of_commands_is_a_command():
    shared = {
        "qhyvit.cli.console",
        "qhyvit.cli.fork_server",
        "qhyvit.cli.forwarding",
        "qhyvit.cli.lazy",
        "qhyvit.cli.options",
        "qhyvit.cli.paths",
        "qhyvit.cli.experiment",
        "qhyvit.cli.task",
        "qhyvit.cli.inputs",
    }
    packages = [(package.__path__, f"{package.__name__}.") for package in (cli, fetch)]
    modules = {module.name for path, prefix in packages for module in iter_modules(path, prefix) if not module.ispkg}
    assert modules - shared == {command.values[0].module for command in COMMANDS}


@pytest.mark.parametrize("given", [("--simulated", "q"), ("--simulated", "q", "--checks", "c"), ("--checks", "c", "--quantized", "q")])
def test_simulation_to_compare_with_needs_all_of_its_files(qhyvit, given):
    run = ("--model", "mobilevit_xxs", "--method", "minmax", "--bits", "w8a8", "--seed", "0", "--images", "images.csv")
    paths = ("--exported", "net.onnx", "--logits", "fp32.safetensors", "--output", "out/a.json")
    code, lines = qhyvit("execute", "--config", "config/config.yaml", *run, *paths, *given)
    assert (code, lines) == (2, ["qhyvit: --simulated needs --checks, and has to be one of --quantized; give all three or none"])


def test_evaluate_without_an_output_per_network_is_refused(qhyvit, project):
    paths = ("--images", "images.csv", "--logits", "fp32.safetensors", "--quantized", "a", "--quantized", "b", "--output", "out/a.json")
    code, lines = qhyvit("evaluate", "--config", "config/config.yaml", "--model", "mobilevit_xxs", *paths)
    assert code == 2
    assert lines == ["qhyvit: 1 --output for 2 --quantized; give one for each"]
    assert not (project / "out").exists()
