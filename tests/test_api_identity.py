"""A calibration and a saved file are taken for the module that they were made from, and for no other with an equal state dict."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import qhyvit
from qhyvit.api.module import state_hash
from qhyvit.graph import fold


class Net(nn.Module):
    """A convolution with its norm, scaled by a buffer that is not saved, and a head on a function of the map."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.change = torch.relu

    def forward(self, x):
        return self.head(self.change(self.norm(self.stem(x))).mean((2, 3))) * self.scale


def fail(x):
    raise RuntimeError("no such map")


CHANGES = {
    "attribute": {"change": torch.abs},
    "buffer": {"scale": torch.tensor(1.01)},
    "other-shape": {"change": lambda x: x.repeat_interleave(2, 0)},
    "pair": {"forward": lambda x: (x, x)},
    "error": {"change": fail},
}


def other(module, changes):
    """A copy with the same state dict, which computes something else."""
    copy = deepcopy(module)
    for name, value in changes.items():
        setattr(copy, name, value)
    return copy


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


@pytest.fixture
def module(images):
    """A network whose norm has statistics of its own."""
    module = Net()
    module(images)
    return module.eval()


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_calibration_of_a_module_with_equal_weights_that_computes_something_else_is_refused(images, module, changes):
    calibration = qhyvit.calibrate(module, images)
    with pytest.raises(
        qhyvit.InputError, match=r"^images: the calibration is of another module or of other weights; calibrate this module$"
    ):
        qhyvit.quantize(other(module, changes), calibration, method="minmax")


@pytest.mark.parametrize("name", ["attribute", "buffer"])
def test_file_of_a_module_with_equal_weights_that_computes_something_else_is_refused(images, module, tmp_path, name):
    qhyvit.quantize(module, images, method="minmax").save(tmp_path / "model.safetensors")
    with pytest.raises(qhyvit.InputError, match=r"was made from another network or from other weights; give the module"):
        qhyvit.load(tmp_path / "model.safetensors", other(module, CHANGES[name]))


class Attention(nn.Module):
    """Attention of one head among the pixels of a map, its products in PyTorch's operator or, in the other order, by themselves."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 4, 4)
        self.head = nn.Linear(8, 10)
        self.fused = True

    def forward(self, x):
        q, k, v = self.stem(x).flatten(2).mT.chunk(3, -1)
        fused = nn.functional.scaled_dot_product_attention
        return self.head((fused(q, k, v, scale=1) if self.fused else (k @ q.mT).mT.softmax(-1) @ v).mean(1))


def test_file_of_a_module_with_other_operators_is_refused(images, tmp_path):
    """Both compute the same, but the left operand of the one product is the right one of the other."""
    module = Attention().eval()
    qhyvit.quantize(module, images, method="minmax").save(tmp_path / "model.safetensors")
    qhyvit.load(tmp_path / "model.safetensors", module)
    module.fused = False
    with pytest.raises(qhyvit.InputError, match="was made from a network with other operators, or by another version of PyTorch"):
        qhyvit.load(tmp_path / "model.safetensors", module)


def test_loaded_model_is_exported_on_an_image_with_the_range_of_the_calibration(images, module, tmp_path):
    images = 255 * images.abs()
    quantized = qhyvit.quantize(module, images, method="minmax")
    quantized.save(tmp_path / "model.safetensors")
    loaded = qhyvit.load(tmp_path / "model.safetensors", module)
    for statistic in torch.std_mean(quantized._image), torch.std_mean(loaded._image):
        assert statistic[0] > 100
    assert [s.item() for s in torch.std_mean(loaded._image)] == pytest.approx([s.item() for s in torch.std_mean(quantized._image)], rel=0.2)


def test_module_in_train_mode_is_that_of_its_calibration_and_is_not_changed(images, module, tmp_path):
    module.train()
    before = deepcopy(module.state_dict())
    calibration = qhyvit.calibrate(module, images)
    quantized = qhyvit.quantize(module, calibration, method="minmax")
    quantized.save(tmp_path / "model.safetensors")
    assert torch.equal(qhyvit.load(tmp_path / "model.safetensors", module)(images), quantized(images))
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_logits_that_any_rounding_changes_tell_nothing(images, module):
    """Random weights may blow up the rounding of folding: of such modules the state dict alone is compared."""
    module.change = lambda x: (x * 1e7).sin()
    calibration = qhyvit.calibrate(module, images)
    assert qhyvit.quantize(module, calibration, method="minmax")(images).isfinite().all()


def test_file_is_read_where_norms_are_folded_to_other_bits(images, module, tmp_path, monkeypatch):
    """Processors round the folded weights differently."""
    quantized = qhyvit.quantize(module, images, method="minmax")
    quantized.save(tmp_path / "model.safetensors")
    fuse = fold.fuse_conv_bn_weights
    monkeypatch.setattr(fold, "fuse_conv_bn_weights", lambda *tensors: [nn.Parameter(tensor * (1 + 2**-22)) for tensor in fuse(*tensors)])
    again = qhyvit.load(tmp_path / "model.safetensors", module)
    assert not torch.equal(again.traced.graph_module.conv2d_folded_weight, quantized.traced.graph_module.conv2d_folded_weight)
    torch.testing.assert_close(again(images), quantized(images), rtol=0, atol=0.05)


def test_lazy_module_has_no_file(images, module, tmp_path):
    qhyvit.quantize(module, images, method="minmax").save(tmp_path / "model.safetensors")
    module.head = nn.LazyLinear(10)
    for use in (
        lambda: qhyvit.load(tmp_path / "model.safetensors", module),
        lambda: qhyvit.quantize(module, qhyvit.calibrate(Net(), images)),
    ):
        with pytest.raises(qhyvit.InputError, match=r"^module: head\.weight has no values, since its module is lazy"):
            use()


def test_strided_vectors_have_a_hash():
    class Strided(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.register_buffer("every", torch.arange(8.0)[::2])
            self.register_buffer("one", torch.ones(1).expand(3))

    module = Strided()
    plain = deepcopy(module)
    plain.every, plain.one = plain.every.contiguous(), plain.one.contiguous()
    assert state_hash(module) == state_hash(plain)
