"""Command `train`, on few random images in the place of CIFAR-10."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import SETTINGS_FILES, TINY_EXPERIMENT
from safetensors.torch import load_file

from qhyvit.cli import train as command
from qhyvit.data import cifar10, cifar10_sample
from qhyvit.data.cifar10_sample import draw_sample
from qhyvit.errors import InputError

MODEL, CONFIG, WEIGHTS, REPORT = "mobilevit_xxs", Path("config.yaml"), Path("net.safetensors"), Path("net.json")
CYCLE = {
    "phases": [{"size": 32, "epochs": 1}],
    "batch_size": 4,
    "learning_rate": 0.01,
    "warmup": 0.5,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "seed": 0,
}


@pytest.fixture
def splits(tmp_path, monkeypatch):
    """16 training and 40 test images; a final set of ten of the latter."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    made = {
        name: (generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10)
        for name, count in (("train", 16), ("test", 40))
    }
    monkeypatch.setattr(cifar10, "load", lambda _, split: made[split])
    for constant, count in {"EVALUATION_PER_CLASS": 1, "CALIBRATION_IMAGES": 4, "TUNING_IMAGES": 8}.items():
        monkeypatch.setattr(cifar10_sample, constant, count)
    dataset = TINY_EXPERIMENT["dataset"] | {"classes": 10, "input_size": 32}
    training = {MODEL: [CYCLE, CYCLE | {"seed": 1}]}
    CONFIG.write_text(yaml.safe_dump(TINY_EXPERIMENT | SETTINGS_FILES | {"dataset": dataset, "training": training}))
    return made


def test_accuracy_is_of_the_test_images_outside_the_final_set(splits, monkeypatch):
    seen, top1_accuracy = [], command.top1_accuracy
    monkeypatch.setattr(command, "top1_accuracy", lambda *arguments: seen.append(arguments[2:]) or top1_accuracy(*arguments))
    command.train(CONFIG, MODEL, Path("data"), WEIGHTS, REPORT, threads=1)
    ((images, labels),) = seen
    final = set(draw_sample(splits["train"], splits["test"]).final)
    left = [index for index in range(40) if index not in final]
    assert len(left) == 30
    np.testing.assert_array_equal(images, splits["test"][0][left])
    np.testing.assert_array_equal(labels, splits["test"][1][left])
    report = json.loads(REPORT.read_text())
    assert (report["model"], report["test_images"]) == (MODEL, 30)
    assert round(report["top1"] * 30 / 100, 6) in range(31)
    assert load_file(WEIGHTS)["head.fc.weight"].dtype == torch.float16
    assert sorted(path.name for path in Path().iterdir()) == ["config.yaml", "net.json", "net.safetensors"]


def test_training_that_fails_at_the_end_keeps_one_checkpoint_per_cycle(splits, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "store_weights", fail)
    with pytest.raises(KeyboardInterrupt):
        command.train(CONFIG, MODEL, Path("data"), WEIGHTS, REPORT, threads=1)
    assert sorted(path.name for path in Path().iterdir()) == ["config.yaml", "net.cycle1.checkpoint", "net.cycle2.checkpoint"]


def test_model_without_a_training_is_refused(splits):
    with pytest.raises(InputError, match=rf"mobilevitv2_050: the section `training` of {CONFIG} lacks this model"):
        command.train(rewritten("mobilevitv2_050"), "mobilevitv2_050", Path("data"), WEIGHTS, REPORT)
    assert not WEIGHTS.exists()


def rewritten(model: str) -> Path:
    """Name another model in the experiment."""
    CONFIG.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | {"models": [model], "training": {}}))
    return CONFIG
