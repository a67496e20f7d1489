"""The Python API on modules of its own, against hand computation."""

import os
import re
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import save
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import qhyvit


class Classifier(nn.Module):
    """A convolution, an activation and a linear layer on pooled features."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


def grid(low, high, limit):
    """Scale and zero point of an unsigned grid over [low, high] and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / limit
    return scale, np.round(-low / scale)


def test_minmax_linear_layer_equals_numpy(images):
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    x, weight, bias = (tensor.detach().double().numpy() for tensor in (images.flatten(1), module[1].weight, module[1].bias))
    scale, zero_point = grid(x.min(), x.max(), 255)
    rounded = (np.clip(np.round(x / scale) + zero_point, 0, 255) - zero_point) * scale
    weight_scale = np.abs(weight).max(1, keepdims=True) / 7
    rounded_weight = np.clip(np.round(weight / weight_scale), -8, 7) * weight_scale
    got = qhyvit.quantize(module, images, method="minmax", bits="w4a8")(images)
    np.testing.assert_allclose(got.detach().numpy(), rounded @ rounded_weight.T + bias, atol=1e-4)


@pytest.mark.parametrize(
    "give",
    [
        lambda images: DataLoader(TensorDataset(images, torch.arange(6)), batch_size=3),
        lambda images: list(images),
        lambda images: (batch for batch in images.split(4)),
    ],
    ids=["loader", "images", "generator"],
)
def test_images_of_every_kind_give_equal_quantizers(images, give):
    module = Classifier()
    expected = qhyvit.quantize(module, images, bits="w4a4")
    got = qhyvit.quantize(module, give(images), bits="w4a4")
    assert torch.equal(got(images), expected(images))


def test_quantize_leaves_the_module_unchanged(images):
    module = Classifier().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    qhyvit.quantize(module, images, method="minmax")
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_calibration_is_shared_by_methods_and_bits(images):
    module = Classifier()
    calibration = qhyvit.calibrate(module, images, seed=3)
    for method, bits in (("minmax", "w8a8"), ("qhyvit", "w4a4")):
        shared = qhyvit.quantize(module, calibration, method=method, bits=bits)
        alone = qhyvit.quantize(module, images, method=method, bits=bits, seed=3)
        assert torch.equal(shared(images), alone(images))
        assert shared.settings["seed"] == 3


def test_another_seed_draws_other_labels_and_gradients(images):
    module = Classifier().eval()
    gradients = [qhyvit.calibrate(module, images, seed=seed).statistics["head"].rows.gradient for seed in (0, 1, 1)]
    assert not torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[1], gradients[2])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_quantization_needs_no_gradients_of_the_caller(images, context):
    module = Classifier().eval()
    expected = qhyvit.quantize(module, images, method="qhyvit-scale")(images)
    with context():
        assert torch.equal(qhyvit.quantize(module, images, method="qhyvit-scale")(images), expected)


def test_error_falls_with_the_bits(images):
    module = Classifier().eval()
    calibration = qhyvit.calibrate(module, images)
    errors = [
        float((qhyvit.quantize(module, calibration, bits=bits, mode="full")(images) - module(images)).detach().square().sum())
        for bits in ("w3a3", "w5a5", "w8a8")
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2] > 0


def test_saved_model_loads_to_equal_outputs(images, tmp_path):
    module = Classifier()
    quantized = qhyvit.quantize(module, images, method="percentile")
    quantized.save(tmp_path / "model.safetensors")
    again = qhyvit.load(tmp_path / "model.safetensors", module)
    assert torch.equal(again(images), quantized(images))
    assert again.settings == quantized.settings


def test_a_deep_copy_is_a_quantized_model_of_its_own(images):
    quantized = qhyvit.quantize(Classifier(), images, bits="w4a4")
    before = quantized(images)
    seen = []
    quantized.register_forward_hook(lambda *_: seen.append(1))
    copy = deepcopy(quantized)
    assert torch.equal(copy(images), before)
    assert seen == [1]
    assert copy.traced is quantized.traced
    for parameter in copy.parameters():
        parameter.data.zero_()
    assert torch.equal(quantized(images), before)
    assert not torch.equal(copy(images), before)
    pd.testing.assert_frame_equal(deepcopy(quantized).report(), quantized.report())


def test_load_refuses_other_weights(images, tmp_path):
    qhyvit.quantize(Classifier(), images, method="minmax").save(tmp_path / "model.safetensors")
    with pytest.raises(qhyvit.InputError, match="other weights"):
        qhyvit.load(tmp_path / "model.safetensors", Classifier())


@pytest.mark.parametrize("content", [b"no tensors", save({"weight": torch.zeros(2)})], ids=["text", "weights"])
def test_load_refuses_files_of_another_kind(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(qhyvit.InputError, match=r"model\.safetensors: not written by .*QuantizedModel\.save"):
        qhyvit.load(path, Classifier())


def test_calibration_of_other_weights_is_refused(images):
    module = Classifier()
    calibration = qhyvit.calibrate(module, images)
    with torch.no_grad():
        module.head.bias += 1
    with pytest.raises(qhyvit.InputError, match="the calibration is of another module or of other weights"):
        qhyvit.quantize(module, calibration)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "qhyvitt"}, "unknown method 'qhyvitt'.*qhyvit"),
        ({"method": "easyquant", "mode": "full"}, "method 'easyquant' has no mode 'full'; choose one of partial"),
        ({"bits": "w9a8"}, "'w9a8': state 2 to 8 bits of weights"),
        ({"images": torch.empty(0, 3, 8, 8)}, "images: there are none"),
        ({"images": [torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)]}, "images: have several sizes"),
        ({"images": torch.full((2, 3, 8, 8), torch.nan)}, "images: hold values that are not finite"),
        ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "expected float tensors .* not torch.uint8"),
        ({"images": ["a.png"]}, "expected float tensors .* not str"),
    ],
)
def test_bad_input_is_one_clear_error(images, arguments, message):
    with pytest.raises(qhyvit.InputError, match=message):
        qhyvit.quantize(Classifier(), **{"images": images} | arguments)


def test_module_without_logits_is_refused(images):
    with pytest.raises(qhyvit.InputError, match=r"returns \[4, 4, 6, 6\] for 4 images; it must return logits"):
        qhyvit.calibrate(nn.Conv2d(3, 4, 3), images)


class EncoderOnPatches(nn.Module):
    """A patch embedding and PyTorch's own encoder layer, whose attention has the sequence first."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).mT).mean(1))


def test_encoder_layer_of_torch_is_quantized_by_qhyvit(images):
    module = EncoderOnPatches().eval()
    calibration = qhyvit.calibrate(module, images)
    names = [site["name"] for site in qhyvit.inspect(module, images)["sites"]]
    errors = [
        float((qhyvit.quantize(module, calibration, bits=bits)(images) - module(images)).detach().norm()) for bits in ("w4a4", "w8a8")
    ]
    assert sum("matmul" in name for name in names) == 2
    assert 0 < 4 * errors[1] < errors[0]


def test_import_loads_no_torch():
    program = "import sys, qhyvit; assert 'torch' not in sys.modules; qhyvit.quantize; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_timm_can_be_imported_after_qhyvit():
    program = "import qhyvit, sys; assert 'torch' not in sys.modules; import timm; timm.create_model('mobilevit_xxs')"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_page_on_the_api_runs_as_it_stands():
    page = (REPOSITORY / "docs/python-api.md").read_text()
    section = page.partition("## Your own module")[2]
    (program,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], flags=re.DOTALL)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert "einsum" in done.stdout
