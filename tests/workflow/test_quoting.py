"""Names with characters that mean something to a shell: each stays one word of the commands of jobs."""

import re
import shlex
import shutil
import subprocess

import pytest
from conftest import REPOSITORY, TINY_EXPERIMENT

EVERYTHING = {
    "results": "my results",
    "reports": "my reports",
    "methods": ["minmax", "qhyvit", "percentile", "fqvit"],
    "modes": ["partial", "full"],
    "evaluation": {"shards": 2},
    "calibration_sizes": [2],
    "sensitivity": {"methods": ["minmax"], "bits": ["w4a4"], "images": 2},
    "deployment": {
        "openvino": {"methods": ["minmax"], "bits": ["w4a4"]},
        "onnx": {"methods": ["minmax"], "bits": ["w4a4"]},
        "peers": ["nncf", "onnxruntime"],
    },
}
CONFIG = 'it\'s {mine} "$(touch trap)" `touch trap`; touch trap.yaml'


def test_folder_with_a_space_is_one_word_in_every_command(fresh):
    fresh.configure(**EVERYTHING)
    planned = fresh.run("-m", "snakemake", "--dry-run", "--printshellcmds", "--forceall").stdout
    commands = [shlex.split(command) for command in re.findall(r"^ *Shell command: (qhyvit .*)$", planned, flags=re.MULTILINE)]
    assert [command for command in commands if "my" in command] == []
    with_folder = {command[1] for command in commands if any("my results/" in word or "my reports/" in word for word in command)}
    of_networks = {"calibrate", "recalibrate", "quantize", "predict", "evaluate", "export", "peer", "execute", "challenges", "sensitivity"}
    assert with_folder == of_networks | {"fetch", "aggregate", "table", "figure", "report"}


def test_name_of_the_configuration_file_runs_no_command(fresh):
    shutil.move(fresh.root / "config/config.yaml", fresh.root / CONFIG)
    fresh.snakemake("--configfile", CONFIG, "--until", "fetch_images")
    assert (fresh.root / "results/tiny/images.csv").exists()
    assert not list(fresh.root.rglob("trap"))


def test_braces_in_the_name_of_a_class_are_named(fresh):
    for split in ("train", "val"):
        (fresh.root / "mine" / split / "a{b}").mkdir(parents=True)
    fresh.configure(dataset=TINY_EXPERIMENT["dataset"] | {"calibration": "mine/train", "evaluation": "mine/val"})
    planned = fresh.run("-m", "snakemake", "--dry-run", check=False)
    assert planned.returncode == 1
    assert "mine/train/a{b}: Snakemake reads the braces in this name as a wildcard; rename it" in planned.stdout


@pytest.mark.parametrize("target", ["reproduce", "diff", "images"])
def test_name_of_the_configuration_file_is_no_part_of_a_recipe(target):
    command = ["make", "--dry-run", target, "CONFIG=a; touch trap", "REV=a; touch trap"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert '"$CONFIG"' in printed
    assert "trap" not in printed
