"""Logits that are not finite: no accuracy is measured by them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import SETTINGS_FILES, TINY_EXPERIMENT, write_data
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, ToTensor

from qhyvit.config.loading import load_config
from qhyvit.data.manifest import write_manifest
from qhyvit.errors import InputError
from qhyvit.evaluation import evaluation_set
from qhyvit.evaluation.evaluation_set import predict_images

MODEL = "mobilevit_xxs"
BLACK = Path("data/tiny/evaluation/007.png")


class DividesByMean(nn.Module):
    """Network whose logits are 0 / 0 on a black image."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([mean, mean / mean], dim=1)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The tiny experiment with one black evaluation image and the network above, quantized or not."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    Image.new("RGB", (16, 16)).save(BLACK)
    Path("config.yaml").write_text(json.dumps(TINY_EXPERIMENT | SETTINGS_FILES))
    loaded = load_config(Path("config.yaml"))
    write_manifest(loaded.experiment.dataset, Path("images.csv"))
    network = DividesByMean()
    traced = SimpleNamespace(graph_module=network, sites=[], output_sites=[], with_quantizers=lambda _: network)
    traced.with_parameters = lambda _: traced
    monkeypatch.setattr(evaluation_set, "load_model", lambda *_: SimpleNamespace(traced=traced, transform=Compose([ToTensor()])))
    monkeypatch.setattr(evaluation_set, "load_quantizers", lambda *_: ({}, {}))
    monkeypatch.setattr(evaluation_set, "load_parameters", lambda *_: {})
    return loaded


@pytest.mark.parametrize(
    ("quantized", "network"),
    [([], "FP32"), ([Path("seed0/hyq-partial-w4a4.safetensors")], "seed0/hyq-partial-w4a4.safetensors")],
)
def test_network_and_image_of_logits_that_are_not_finite_are_named(config, quantized, network):
    with pytest.raises(InputError) as error:
        predict_images(config, MODEL, Path("images.csv"), quantized)
    assert str(error.value).startswith(f"{MODEL}, {network}: the logits of 1 of 12 images are not finite, first of {BLACK}; ")
    assert "\n" not in str(error.value)


def test_image_of_a_shard_is_named(config, monkeypatch):
    monkeypatch.setattr(evaluation_set, "BATCH_SIZE", 4)
    Path("config.yaml").write_text(json.dumps(TINY_EXPERIMENT | SETTINGS_FILES | {"evaluation": {"shards": 3}}))
    sharded = load_config(Path("config.yaml"))
    with pytest.raises(InputError, match=f"the logits of 1 of 4 images are not finite, first of {BLACK}; "):
        predict_images(sharded, MODEL, Path("images.csv"), [], shard=2)


def test_finite_logits_pass(config):
    Image.new("RGB", (16, 16), "gray").save(BLACK)
    write_manifest(config.experiment.dataset, Path("images.csv"))
    assert torch.cat(predict_images(config, MODEL, Path("images.csv"), []).logits).isfinite().all()


def test_quantizers_of_another_model_are_refused(config, monkeypatch):
    monkeypatch.setattr(evaluation_set, "load_quantizers", lambda *_: ({"stem": {}}, {}))
    with pytest.raises(InputError, match=r"q\.safetensors: its sites are not those of mobilevit_xxs"):
        predict_images(config, MODEL, Path("images.csv"), [Path("q.safetensors")])
