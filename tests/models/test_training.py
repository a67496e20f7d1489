import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image
from torch import nn

from qhyvit.config.dataset import Dataset
from qhyvit.config.loading import load_config
from qhyvit.config.models import Model
from qhyvit.config.training import Cycle, Phase
from qhyvit.errors import InputError
from qhyvit.models import training
from qhyvit.models.zoo import build, make_transform

CYCLE = Cycle(
    phases=[{"size": 8, "epochs": 2}, {"size": 16, "epochs": 1}],
    batch_size=8,
    learning_rate=0.01,
    warmup=0.3,
    weight_decay=0.05,
    label_smoothing=0.1,
    seed=0,
)
SETTINGS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


def small_network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8, 2),
    )


def bright_or_dark(count=64):
    labels = torch.arange(count) % 2
    images = torch.randint(0, 100, (count, 3, 8, 8)) + 120 * labels.view(-1, 1, 1, 1)
    return images.to(torch.uint8), labels


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch, dropout):
    images, labels = bright_or_dark()
    whole = small_network(dropout)
    training.train_cycle(whole, images, labels, SETTINGS, CYCLE, tmp_path / "whole", torch.device("cpu"))

    saves = iter([None, KeyboardInterrupt])
    save = training._save

    def save_then_stop(*arguments):
        save(*arguments)
        if next(saves):
            raise KeyboardInterrupt

    interrupted = small_network(dropout)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_save", save_then_stop)
        with pytest.raises(KeyboardInterrupt):
            training.train_cycle(interrupted, images, labels, SETTINGS, CYCLE, tmp_path / "parts", torch.device("cpu"))
    resumed = small_network(dropout)
    training.train_cycle(resumed, images, labels, SETTINGS, CYCLE, tmp_path / "parts", torch.device("cpu"))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_finished_training_leaves_no_checkpoint_of_its_own(tmp_path):
    for name in ("net.cycle1.checkpoint", "net.cycle12.checkpoint", "network.cycle1.checkpoint", "net.safetensors"):
        (tmp_path / name).touch()
    training.remove_checkpoints(tmp_path / "net.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "network.cycle1.checkpoint"]


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4 no archive", pickle.dumps(Path())], ids=["empty", "text", "archive", "pickle"])
def test_damaged_checkpoint_is_refused_by_name(tmp_path, content):
    checkpoint = tmp_path / "net.cycle1.checkpoint"
    checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"net\.cycle1\.checkpoint: not a checkpoint of training, or damaged \(.*\); delete it, and"):
        training.train_cycle(small_network(), *bright_or_dark(), SETTINGS, CYCLE, checkpoint, torch.device("cpu"))
    assert checkpoint.read_bytes() == content


@pytest.mark.parametrize("changed", ["cycle", "weights"])
def test_checkpoint_of_other_settings_or_weights_counts_as_none(tmp_path, changed):
    images, labels = bright_or_dark()
    cycle = CYCLE.model_copy(update={"learning_rate": 0.05}) if changed == "cycle" else CYCLE

    def train(path, cycle, shift=0.0):
        network = small_network()
        network[0].bias.data.add_(shift)
        training.train_cycle(network, images, labels, SETTINGS, cycle, tmp_path / path, torch.device("cpu"))
        return network[0].weight

    train("used", CYCLE)
    shift = 0.1 if changed == "weights" else 0.0
    assert torch.equal(train("used", cycle, shift), train("new", cycle, shift))
    assert (tmp_path / "used").read_bytes() == (tmp_path / "new").read_bytes()


def test_network_whose_parameters_depend_on_the_image_size_is_refused_before_its_first_epoch(tmp_path):
    config = load_config(REPOSITORY / "config/config.yaml")
    model, dataset = config.models["efficientformer_l1"], config.experiment.dataset
    cycle = CYCLE.model_copy(update={"phases": [Phase(size=64, epochs=1), Phase(size=96, epochs=1)]})
    images, labels = bright_or_dark(8)
    with pytest.raises(
        InputError, match=r"^training: efficientformer_l1 has parameters of other shapes at each of 64, 96 pixels; write one"
    ):
        training.train_cycles(model, dataset, [cycle], images.permute(0, 2, 3, 1), labels, tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_trained_network_classifies_its_images(tmp_path):
    images, labels = bright_or_dark()
    model = small_network()
    training.train_cycle(model, images, labels, SETTINGS, CYCLE, tmp_path / "checkpoint", torch.device("cpu"))
    model.eval()
    predicted = model(training.normalize(images, 16, SETTINGS["mean"], SETTINGS["std"])).argmax(1)
    assert float((predicted == labels).double().mean()) > 0.9


class Scaled(nn.Module):
    """A scale with five axes, which has no channels-last layout."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1, 8, 1, 1))

    def forward(self, x):
        return (x[:, None] * self.scale)[:, 0]


def test_network_with_a_parameter_of_five_axes_is_trained(tmp_path):
    network = small_network().insert(1, Scaled())
    training.train_cycle(network, *bright_or_dark(), SETTINGS, CYCLE, tmp_path / "state", torch.device("cpu"))
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(network[1].scale, torch.ones_like(network[1].scale))


def test_images_are_normalized_as_by_the_evaluation_transform():
    model = build(Model(family="", constructor="efficientformerv2_s0"), classes=10)
    dataset = Dataset(name="x", classes=10, calibration="c", evaluation="e", input_size=128, crop_pct=1.0)
    pixels = np.random.default_rng(0).integers(80, 176, (32, 32, 3), dtype=np.uint8)  # bicubic overshoot stays in range
    expected = make_transform(model, dataset)(Image.fromarray(pixels))
    settings = model.pretrained_cfg
    got = training.normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None], 128, settings["mean"], settings["std"])[0]
    assert float((got - expected).abs().max()) < 1.1 / 255 / min(settings["std"])  # Pillow rounds to bytes twice


def test_augmented_images_are_crops_of_the_reflected_image_or_of_its_mirror():
    image = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    padded = np.pad(image[0].numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
    crops = [padded[:, top : top + 8, left : left + 8] for top in range(9) for left in range(9)]
    allowed = {crop.tobytes() for crop in crops} | {np.ascontiguousarray(crop[:, :, ::-1]).tobytes() for crop in crops}
    got = training.augment(image.expand(50, -1, -1, -1), torch.Generator().manual_seed(0))
    found = {np.ascontiguousarray(one.numpy()).tobytes() for one in got}
    assert found <= allowed
    assert len(found) > 10
