"""A network with products that stay FP32: `quantize` and the page of `convert` say how many, their share, and which."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, write_data, write_weights

from qhyvit.cli import main
from qhyvit.cli.calibrate import calibrate
from qhyvit.cli.fetch.images import fetch_images

UPSAMPLED = """
import qhyvit.models
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

default_cfgs = generate_default_cfgs({"upsampled": {"input_size": (3, 64, 64), "num_classes": 2, "classifier": "head"}})


class Upsampled(nn.Module):
    def __init__(self, num_classes=2, in_chans=3):
        super().__init__()
        self.num_classes = num_classes
        self.stem, self.up = nn.Conv2d(in_chans, 4, 4, stride=4), nn.ConvTranspose2d(4, 8, 2, stride=2)
        self.head = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.head(self.up(self.stem(images).relu()).mean((2, 3)))


@register_model
def upsampled(pretrained=False, **arguments):
    return build_model_with_cfg(Upsampled, "upsampled", pretrained, **arguments)
"""
MODEL = {"family": "Tiny", "constructor": "upsampled", "module": "upsampled"}
# Per image: 4 x 16 x 16 outputs of 48 terms, 8 x 32 x 32 of 4, and 2 of 8.
SHARE = 100 * 8 * 32 * 32 * 4 / (4 * 16 * 16 * 48 + 8 * 32 * 32 * 4 + 2 * 8)
SENTENCE = f"1 product, {SHARE:.3g} % of the multiply-accumulates, is not quantized: up."


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Images, weights and a calibration of the network, which runs in its folder."""
    root = tmp_path_factory.mktemp("upsampled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.syspath_prepend(root)
        Path("upsampled.py").write_text(UPSAMPLED)
        write_data(root)
        write_weights(Path("data/weights/upsampled.safetensors"), 2, **MODEL)
        Path("config").mkdir()
        Path("config/models.yaml").write_text(yaml.safe_dump({"upsampled": MODEL}))
        files = {"models_file": "config/models.yaml", "methods_file": str(REPOSITORY / "config/methods.yaml")}
        Path("config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | files | {"models": ["upsampled"]}))
        fetch_images(Path("config.yaml"), Path("images.csv"))
        calibrate(Path("config.yaml"), "upsampled", 0, Path("images.csv"), Path("calibration.safetensors"))
        yield root


@pytest.fixture
def said(project, monkeypatch, capfd):
    """Run a command and return its output."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["qhyvit", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        text = "".join(capfd.readouterr())
        assert not end.value.code, text
        return text

    return run


def test_quantize_says_so(said):
    run = ("--model", "upsampled", "--method", "minmax", "--mode", "partial", "--bits", "w8a8")
    files = ("--config", "config.yaml", "--images", "images.csv", "--calibration", "calibration.safetensors", "--errors", "errors.csv")
    assert f"model upsampled: {SENTENCE}" in said("quantize", *run, *files, "--output", "quantized.safetensors")


def test_page_of_convert_says_so(said):
    pytest.importorskip("openvino")
    model = ("--model", "upsampled", "--checkpoint", "data/weights/upsampled.safetensors", "--classes", "2", "--method", "minmax")
    said("convert", *model, "--images", "data/tiny/evaluation", "--output", "converted")
    assert SENTENCE in re.sub(r"\s+", " ", Path("converted/report.html").read_text())
