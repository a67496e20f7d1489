"""Paths of commands: an output that is an input or another output, and paths of what is no file, end in one line before any work."""

import os
import re
import shutil
import sys
from importlib import import_module

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT
from test_cli import COMMANDS

from qhyvit.cli import main
from qhyvit.cli.paths import marks_of

OF_MODEL = ("--config", "config/config.yaml", "--model", "mobilevit_xxs")
RUN = (*OF_MODEL, "--method", "minmax", "--bits", "w4a4")
QUANTIZE = ("quantize", *RUN, "--mode", "partial", "--images", "images.csv", "--calibration", "cal")
EVALUATE = ("evaluate", *OF_MODEL, "--images", "images.csv")
EXPORT = ("export", *OF_MODEL, "--images", "images.csv", "--quantized", "q")
CHALLENGES = ("challenges", *OF_MODEL, "--calibration", "cal")
CALIBRATE = ("calibrate", *OF_MODEL, "--seed", "0", "--images", "images.csv")
FETCH = ("fetch", "images", "--config", "config/config.yaml")
TABLE = ("table", "accuracy", "--config", "config/config.yaml", "--input", "results=t.csv")
WEIGHTS, LABELS = "data/weights/mobilevit_xxs.safetensors", "data/tiny/evaluation/labels.csv"
FILES = ["images.csv", "cal", "q", "x", "t.csv", "data.bin", WEIGHTS, LABELS]


@pytest.fixture
def qhyvit(tmp_path, monkeypatch, capfd):
    """Run the command line in a folder with FILES, which it must leave as they are, and return its exit code and its lines on stderr."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT))
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("cal")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo("pipe")
    before = sorted(tmp_path.rglob("*"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["qhyvit", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert sorted(tmp_path.rglob("*")) == before
        assert [(tmp_path / name).read_text() for name in FILES] == FILES
        return end.value.code, capfd.readouterr().err.strip().splitlines()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*QUANTIZE, "--output", "new", "--errors", "./new"), "new: --errors is also --output"),
        ((*QUANTIZE, "--output", "cal", "--errors", "e"), "cal: --output is also --calibration"),
        ((*QUANTIZE, "--output", "link", "--errors", "e"), "link: --output is also --calibration"),
        ((*QUANTIZE, "--output", "images.csv", "--errors", "e"), "images.csv: --output is also --images"),
        ((*QUANTIZE, "--output", "o", "--errors", WEIGHTS), f"{WEIGHTS}: --errors is also the weights of mobilevit_xxs"),
        ((*CALIBRATE, "--output", WEIGHTS), f"{WEIGHTS}: --output is also the weights of mobilevit_xxs"),
        ((*CALIBRATE, "--output", "config/methods.yaml"), "config/methods.yaml: --output is also `methods_file` of the experiment"),
        (("train", *OF_MODEL, "--data", "data", "--output", "o", "--report", "data/../o"), "data/../o: --report is also --output"),
        ((*EVALUATE, "--logits", "q", "--quantized", "x", "--output", "q"), "q: --output is also --logits"),
        ((*EVALUATE, "--logits", "l", "--output", "l"), "l: --logits is also --output"),
        ((*EVALUATE, "--logits", "l", "--quantized", "q", "--output", "q"), "q: --output is also --quantized"),
        (
            (*EVALUATE, "--logits", "l", "--quantized", "q", "--quantized", "x", "--output", "o", "--output", "o"),
            "o: --output is given twice",
        ),
        ((*CHALLENGES, "--output", "o", "--channels", "c", "--summary", "o"), "o: --summary is also --output"),
        ((*CHALLENGES, "--output", "o", "--channels", "cal", "--summary", "s"), "cal: --channels is also --calibration"),
        ((*EXPORT, "--output", "d.onnx", "--checks", "d.onnx"), "d.onnx: --checks is also --output"),
        ((*EXPORT, "--output", "d.xml", "--checks", "d.bin"), "d.bin: --checks is also --output"),
        ((*EXPORT, "--output", "data.xml"), "data.bin: there without data.xml, whose weights it would become"),
        ((*FETCH, "--output", LABELS), f"{LABELS}: --output is also the labels of the experiment"),
        ((*FETCH, "--output", "config/config.yaml"), "config/config.yaml: --output is also --config"),
        ((*FETCH, "--output", "o", "--stamps", "o"), "o: --stamps is also --output"),
        (("fetch", "checkpoint", "x", "--output", "x"), "x: --output is also CHECKPOINT"),
        (("inspect", "resnet", "--json", "o", "--svg", "o"), "o: --svg is also --json"),
        ((*TABLE, "--output", "t"), "t.csv: --output is also --input"),
        (("report", "accuracy=x", "--output", "x"), "x: --output is also TABLES"),
        ((*QUANTIZE[:-1], "pipe", "--output", "o", "--errors", "e"), "pipe: --calibration is no regular file"),
        ((*FETCH[:-1], "pipe", "--output", "o"), "pipe: --config is no regular file"),
        (
            ("table", "accuracy", "--config", "config/config.yaml", "--input", "results=pipe", "--output", "o"),
            "pipe: --input is no regular",
        ),
        (("share", "pipe"), "pipe: PATHS is no regular file"),
        ((*QUANTIZE, "--output", "o", "--errors", "pipe"), "pipe: is no regular file"),
        ((*QUANTIZE, "--output", "/", "--errors", "e"), "/: is a folder"),
        (
            ("aggregate", "x", "--config", "config/config.yaml", "--images", "images.csv", "--output", "q"),
            "q/results.csv: cannot be written",
        ),
    ],
)
def test_paths_that_cannot_be_meant_are_refused_before_any_work(qhyvit, arguments, message):
    code, lines = qhyvit(*arguments)
    assert code == 2
    (line,) = lines
    assert line.startswith(f"qhyvit: {message}")
    assert re.search(r"; give (another|the) ", line)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("config/config.yaml/images.csv", "config/config.yaml/images.csv: cannot be written (Not a directory); give another path"),
        ("config", "config: is a folder; give the path of a file"),
        (".", ".: is a folder; give the path of a file"),
        ("/dev/null", "/dev/null: is no regular file; give the path of a file"),
        ("loop", "loop: cannot be written (Too many levels of symbolic links); give another path"),
        ("long" * 100, f"{'long' * 100}: cannot be written (File name too long); give another path"),
    ],
)
def test_path_that_cannot_be_written_is_named_in_one_line(qhyvit, path, message):
    assert qhyvit(*FETCH, "--output", path) == (2, [f"qhyvit: {message}"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~/imagenet", "~/imagenet: ~ is not replaced by a home folder; write the path in full"),
        ("/a$", "/a$: a $ begins the name of an environment variable, as in ${IMAGENET}/train; correct the name"),
    ],
)
def test_folder_of_imagenet_that_no_shell_replaces_is_one_line(qhyvit, path, message):
    assert qhyvit("fetch", "subset", "--imagenet", path, "--name", "mini") == (2, [f"qhyvit: --imagenet {message}"])


def test_table_without_inputs_is_one_line(qhyvit):
    message = "qhyvit: no input of kind 'results'; add `--input results=PATH`"
    assert qhyvit("table", "accuracy", "--config", "config/config.yaml", "--output", "x") == (2, [message])


def test_bits_have_one_form():
    command = next(parameter.values[0] for parameter in COMMANDS if parameter.id == "quantize")
    arguments = [*QUANTIZE[1:], "--output", "o", "--errors", "e"]
    context = command.make_context("quantize", [argument.replace("w4a4", "W4A4") for argument in arguments])
    assert context.params["bits"] == "w4a4"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_that_a_command_writes_is_marked(command):
    for parameter, (info, written) in marks_of(getattr(import_module(command.module), command.function)).items():
        says = re.search(r"\bto write\b|\bfile for\b|^Folder for\b|: written without\b", info.help)
        assert bool(says) == (written is not None), parameter
