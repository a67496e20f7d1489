"""FP32 accuracy against the published one, before anything is quantized on ImageNet."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import REPOSITORY, SETTINGS_FILES
from scipy.stats import norm

from qhyvit.cli import evaluate as command
from qhyvit.config.dataset import Dataset
from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.evaluation.predictions import Predictions
from qhyvit.evaluation.published_accuracy import check_published_accuracy

PUBLISHED = 69.0  # of mobilevit_xxs in config/models.yaml
IMAGENET = {"name": "any", "layout": "imagenet", "classes": 1000, "calibration": "train", "evaluation": "val"}


@pytest.mark.parametrize(
    ("changes", "images", "whole"),
    [
        ({}, 50_000, True),
        ({"name": "mine"}, 50_000, True),
        ({"name": "imagenet-mini"}, 800, False),
        ({"name": "imagenet", "subset": {"evaluation": 5}}, 5000, False),
        ({"subset": {"evaluation": 50}}, 50_000, False),  # of a folder that has more, as train has
        ({"layout": "labelled-folders"}, 50_000, False),
        ({"classes": 100}, 50_000, False),
        ({"subset": {"calibration": 1}}, 50_000, True),
    ],
)
def test_only_all_validation_images_are_imagenet_whatever_the_name(changes, images, whole):
    assert Dataset(**IMAGENET | changes).is_whole_imagenet(images) is whole


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("published", [64.0, 83.5])
def test_difference_of_chance_and_rounding_is_allowed_and_no_more(published, sign):
    deviation = (published * (100 - published) / 50_000) ** 0.5
    allowed = 0.3 + norm.isf(0.025) * deviation
    check_published_accuracy("net", published + sign * (allowed - 0.001), published, 50_000)
    with pytest.raises(InputError, match="net: FP32 top-1 is"):
        check_published_accuracy("net", published + sign * (allowed + 0.001), published, 50_000)


def test_known_measurements_of_timm_pass():
    measured = {"mobilevit_xxs": 68.912, "efficientformer_l1": 80.502, "efficientformerv2_s2": 82.156, "mobilevitv2_050": 70.140}
    models = yaml.safe_load((REPOSITORY / "config/models.yaml").read_text())
    for name, top1 in measured.items():
        check_published_accuracy(name, top1, models[name]["published"]["top1"], 50_000)


def evaluate(top1: float, images: int, monkeypatch) -> None:
    """Evaluate a FP32 network that is planted to be right on ``top1`` percent of the images, as the command does."""
    experiment = {"dataset": IMAGENET, "weights": "{model}.safetensors", "models": ["mobilevit_xxs"]} | SETTINGS_FILES
    Path("config.yaml").write_text(json.dumps(experiment))
    assert load_config(Path("config.yaml")).models["mobilevit_xxs"].published.top1 == PUBLISHED
    for name in ("mobilevit_xxs.safetensors", "images.csv"):
        Path(name).write_text("any")
    logits = torch.zeros(images, 1000, dtype=torch.float16)
    logits[:, 0] = 1
    labels = (torch.arange(images) >= images * top1 / 100).long()
    monkeypatch.setattr(command, "_predict", lambda *_: Predictions([logits], labels, "cpu"))
    monkeypatch.setattr(command, "save_reference", lambda path, *_: path.write_text("logits"))
    command.evaluate(Path("config.yaml"), "mobilevit_xxs", Path("images.csv"), [Path("fp32.json")], Path("fp32.safetensors"))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_wrong_network_on_all_of_imagenet_is_refused_in_one_line_without_a_result(monkeypatch):
    with pytest.raises(InputError) as error:
        evaluate(60.0, 50_000, monkeypatch)
    text = str(error.value)
    assert re.match(r"mobilevit_xxs: FP32 top-1 is 60\.00 %, published is 69\.00 %, and at most 0\.71 points", text)
    assert all(cause in text for cause in ("weights", "dataset.mean", "std", "interpolation", "labels", "published.top1"))
    assert "\n" not in text
    assert not list(Path().glob("fp32.*"))


@pytest.mark.parametrize(("top1", "images"), [(68.9, 50_000), (60.0, 5000)])
def test_published_accuracy_or_fewer_images_pass(top1, images, monkeypatch):
    evaluate(top1, images, monkeypatch)
    assert json.loads(Path("fp32.json").read_text())["top1"] == pytest.approx(top1)
