"""Data sets that state their own normalization, with a network that is planted to classify only what CIFAR-10's has normalized."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn
from torch.utils.data import DataLoader

from qhyvit.config.dataset import Dataset
from qhyvit.config.models import Model
from qhyvit.data.entries import Entry
from qhyvit.data.labelled_images import LabelledImages
from qhyvit.evaluation.metrics import top1_correct
from qhyvit.evaluation.predict import predict
from qhyvit.models.zoo import build, load_weights, make_transform

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's training images; the network's own are ImageNet's
SPEC = Model(family="", constructor="planted")
SIZE = 8

default_cfgs = generate_default_cfgs({"planted": {"input_size": (3, SIZE, SIZE), "crop_pct": 1.0, "classifier": "head"}})


class Planted(nn.Module):
    """Linear classifier of the mean colour."""

    def __init__(self, num_classes=4, in_chans=3):
        super().__init__()
        self.num_classes, self.head = num_classes, nn.Linear(in_chans, num_classes)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


@register_model
def planted(pretrained=False, **arguments):
    return build_model_with_cfg(Planted, "planted", pretrained, **arguments)


def dataset(**stated) -> Dataset:
    return Dataset(name="any", classes=4, calibration="calibration", evaluation="evaluation", **stated)


@pytest.fixture
def network(tmp_path) -> nn.Module:
    """Classes say if normalized red is above 1, which both mean and std decide, and if normalized blue is above 0."""
    signs = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    weight = torch.stack([signs[:, 0], torch.zeros(4), signs[:, 1]], dim=1)
    save_file({"head.weight": weight, "head.bias": -signs[:, 0].clone()}, tmp_path / "planted.safetensors")
    model = build(SPEC, classes=4)
    load_weights(model, tmp_path / "planted.safetensors")
    return model


@pytest.fixture
def images(tmp_path) -> list[Entry]:
    """Images of one colour each, on both sides of the two limits, as near as the rounding to bytes allows."""
    entries = []
    for label, (red, blue) in enumerate([(0.97, -0.03), (0.97, 0.03), (1.03, -0.03), (1.03, 0.03)]):
        colour = (MEAN[0] + red * STD[0], 0.5, MEAN[2] + blue * STD[2])
        path = tmp_path / f"{label}.png"
        Image.new("RGB", (SIZE, SIZE), tuple(round(255 * value) for value in colour)).save(path)
        entries.append(Entry(path, label))
    return entries


def correct(network: nn.Module, images: list[Entry], **stated) -> list[bool]:
    (logits,), labels = predict([network], DataLoader(LabelledImages(images, make_transform(network, dataset(**stated))), 4))
    return top1_correct(logits, labels).tolist()


def test_network_of_cifars_normalization_is_right_where_the_data_set_states_it(network, images):
    assert correct(network, images, mean=MEAN, std=STD) == [True] * 4


@pytest.mark.parametrize("stated", [{}, {"mean": MEAN}, {"std": STD}])
def test_same_network_is_wrong_under_its_own_mean_or_std(network, images, stated):
    assert not all(correct(network, images, **stated))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_stated_interpolation_is_that_of_pillow(network, name):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8))
    resized = np.asarray(image.resize((SIZE, SIZE), Image.Resampling[name.upper()])) / 255
    expected = torch.from_numpy((resized - MEAN) / STD).permute(2, 0, 1).float()
    found = make_transform(network, dataset(interpolation=name, mean=MEAN, std=STD))(image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "stated",
    [{"mean": (125.3, 123.0, 113.9)}, {"std": (0.2, 0.2, 0.0)}, {"std": (0.2, 0.2)}, {"interpolation": "cubic"}],
)
def test_impossible_normalization_is_refused(stated):
    with pytest.raises(ValidationError):
        dataset(**stated)


def test_what_is_not_stated_is_no_setting():
    assert dataset().preprocessing == {}
    assert dataset(input_size=64, mean=MEAN).preprocessing == {"input_size": 64, "mean": list(MEAN)}
