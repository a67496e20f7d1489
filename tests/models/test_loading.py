"""Networks of an experiment that do not fit its images or classes: one line with the model and the setting."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qhyvit.config.dataset import Dataset
from qhyvit.config.models import Model
from qhyvit.errors import InputError
from qhyvit.models import loading
from qhyvit.models.zoo import build, input_shape, make_transform


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a network as the model `net` of an experiment with images of 16 x 16 pixels and two classes."""

    def load(network, function=loading.load_model):
        save_file(network.state_dict(), tmp_path / "net.safetensors")
        monkeypatch.setattr(loading, "build", lambda *_: network)
        dataset = Dataset(name="set", classes=2, calibration="calibration", evaluation="evaluation", input_size=16)
        config = SimpleNamespace(
            experiment=SimpleNamespace(dataset=dataset, weights_lock=tmp_path / "none.yaml"),
            models={"net": None},
            weights_path=lambda _: tmp_path / "net.safetensors",
            configured_weights=lambda _: "net.safetensors",
        )
        return function(config, "net")

    return load


class Net(nn.Sequential):
    """A convolution, pooling to one value per channel, and a linear layer of as many outputs as given."""

    def __init__(self, outputs=2):
        super().__init__(nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs))


class Returning(Net):
    """Returns what a function makes of the images and the logits."""

    def __init__(self, change, outputs=2):
        super().__init__(outputs)
        self.change = change

    def forward(self, x):
        return self.change(x, super().forward(x))


def test_network_that_fits_is_loaded(load):
    assert [site.kind for site in load(Net()).traced.sites] == ["conv", "linear"]


def test_preloaded_network_is_taken_until_its_weights_change(load, monkeypatch):
    monkeypatch.setattr(loading, "_preloaded", {})
    first, second = Net(), Net()
    load(first, loading.preload)
    (preloaded,) = loading._preloaded.values()
    assert load(first) is preloaded
    image = torch.randn(1, 3, 16, 16)
    assert torch.allclose(load(second).traced.graph_module(image), second(image), atol=1e-5)
    assert load(first) is preloaded


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Net(3), r"returns \[3\] for an image; it must return 2 logits, one per class: correct its `arguments` or dataset\.classes"),
        (nn.Sequential(nn.Conv2d(3, 2, 8)), r"returns \[2, 9, 9\] for an image; it must return 2 logits"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 17)),
            r"Sequential, module 0: cannot run on an input of shape \[3, 3, 16, 16\] .*; give it images of",
        ),
        (nn.Sequential(nn.Conv2d(1, 4, 8)), r"Sequential, module 0: cannot run on an input of shape \[3, 3, 16, 16\] "),
        (Returning(lambda x, logits: (logits, x)), "Returning: returns tuple, not one tensor; wrap it in a module"),
        (Returning(lambda x, logits: {"logits": logits}), "Returning: returns dict, not one tensor; wrap it in a module"),
        (Returning(lambda x, logits: logits if x.sum() >= 0 else -logits), r"Returning: torch\.export cannot trace it \("),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "Sequential: has no product that can be quantized; give a network with"),
    ],
    ids=["classes", "map", "size", "channels", "two-outputs", "dict", "control-flow", "no-sites"],
)
def test_network_that_does_not_fit_is_named_with_the_setting(load, network, message):
    with pytest.raises(InputError, match=rf"^model net, dataset\.input_size 16: {message}") as error:
        load(network)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "size", "shape"),
    [
        ({}, None, (3, 160, 160)),
        ({"in_chans": 4}, None, (4, 160, 160)),
        ({"in_chans": 1}, 32, (1, 32, 32)),
        ({"img_size": 64}, None, (3, 64, 64)),
    ],
)
def test_arguments_of_the_constructor_decide_the_input(arguments, size, shape):
    network = build(Model(family="", constructor="test_vit", arguments=arguments), 2, size)
    assert input_shape(network) == shape


def test_images_of_other_channels_than_three_are_refused():
    network = build(Model(family="", constructor="test_vit", arguments={"in_chans": 1}), 2)
    dataset = Dataset(name="set", classes=2, calibration="calibration", evaluation="evaluation", input_size=32)
    assert input_shape(network, dataset) == (1, 32, 32)
    with pytest.raises(InputError, match="takes images of 1 channels, not of red, green and blue; remove `in_chans` from its `arguments`"):
        make_transform(network, dataset)
