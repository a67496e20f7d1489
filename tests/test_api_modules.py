"""Modules and modes that a caller of the Python API may have set up: the same result as without, or one clear error."""

from threading import Lock

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import qhyvit
from qhyvit.api.modes import plain_modes

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning", "ignore:.*torch.jit:DeprecationWarning", "ignore:Sparse CSR")


class Net(nn.Module):
    """A convolution and a linear layer, of whose logits a function makes the result."""

    def __init__(self, change=None):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.fc = nn.Linear(8, 10)
        self.change = change

    def forward(self, x):
        logits = self.fc(self.pooled(self.stem(x).relu()))
        return self.change(logits) if self.change else logits

    def pooled(self, x):
        return x.mean((2, 3))


class Squeezed(Net):
    """Removes all axes of length one, as of a single image."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def pooled(self, x):
        return self.norm(x.mean((2, 3), keepdim=True).squeeze())


def with_attributes(path="", **values):
    """A network with attributes at a path in it."""
    module = Net()
    vars(module.get_submodule(path)).update(values)
    return module


def changed(change):
    """A network that a function has changed in place."""
    module = Net()
    change(module)
    return module


@pytest.fixture
def images():
    return torch.randn(5, 3, 8, 8)


def quantized(module, images):
    return qhyvit.quantize(module, images, method="minmax")


def assert_refused(module, images, message):
    with pytest.raises(qhyvit.InputError, match=f"^module: {message}$") as error:
        quantized(module, images)
    assert "\n" not in str(error.value)


def test_autocast_of_the_caller_changes_nothing(images, tmp_path):
    module = Net()
    expected = qhyvit.quantize(module, images, method="percentile")
    with torch.autocast("cpu", torch.bfloat16):
        qhyvit.quantize(module, images, method="percentile").save(tmp_path / "model.safetensors")
        found, description = qhyvit.load(tmp_path / "model.safetensors", module), qhyvit.inspect(module, images)
    assert torch.equal(found(images), expected(images))
    assert description == qhyvit.inspect(module, images)


def test_simulation_is_in_float32_under_autocast(images):
    model = quantized(Net(), images)
    expected = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(images)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_images_of_another_type_are_refused(images, dtype):
    model = quantized(Net(), images)
    with pytest.raises(qhyvit.InputError, match=rf"^images: are of {dtype}, and quantization .* in float32; give images\.float\(\)$"):
        model(images.to(dtype))


@pytest.mark.parametrize(
    "change",
    [
        nn.Module.half,
        nn.Module.bfloat16,
        nn.Module.double,
        lambda model: model.to("cpu", torch.float64),
        lambda model: nn.Sequential(model).half(),
    ],
    ids=["half", "bfloat16", "double", "to", "within"],
)
def test_type_of_a_quantized_model_stays(images, change):
    model = quantized(Net(), images)
    expected = model(images)
    with pytest.raises(
        qhyvit.InputError, match=r"^QuantizedModel: cannot be changed to torch\..*; leave its type, and give a device alone$"
    ):
        change(model)
    for same in (model, model.float(), model.cpu(), model.to(memory_format=torch.channels_last), model.share_memory()):
        assert torch.equal(same(images), expected)


def test_model_with_logits_of_double_precision_is_read_back(images, tmp_path):
    module = Net(torch.Tensor.double)
    model = quantized(module, images)
    model.save(tmp_path / "model.safetensors")
    found = qhyvit.load(tmp_path / "model.safetensors", module)(images)
    assert found.dtype == torch.float64
    assert torch.equal(found, model(images))


def test_default_type_of_the_caller_changes_nothing(images, tmp_path):
    module = Net()
    expected = quantized(module, images)
    torch.set_default_dtype(torch.float64)
    try:
        quantized(module, images).save(tmp_path / "model.safetensors")
        found = qhyvit.load(tmp_path / "model.safetensors", module)(images)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected(images))


def test_default_device_of_the_caller_changes_nothing(images):
    module = Net()
    expected = quantized(module, images)(images)
    with torch.device("meta"):
        assert torch.equal(quantized(module, images)(images), expected)


def test_plain_modes_hold_on_an_accelerator_too(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    torch.set_autocast_enabled("cuda", True)
    try:
        with torch.inference_mode(), plain_modes():
            modes = [torch.is_autocast_enabled("cuda"), torch.is_inference_mode_enabled(), torch.is_grad_enabled()]
        assert torch.is_autocast_enabled("cuda")
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert modes == [False, False, True]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Net(change=lambda logits: logits.topk(5).indices), r"Net: returns torch\.int64 of shape \[3, 5\], no floating-point numbers"),
        (Net(change=lambda logits: logits[:, 0]), r"module: returns \[4\] for 4 images; it must return logits \[B, classes\]"),
        (Net(change=lambda logits: logits.mean(0, keepdim=True)), r"module: returns \[1, 10\] for 4 images; it must return logits"),
        (Net(change=lambda logits: logits[:, :1]), r"module: returns one logit, whose softmax is 1 for every image"),
        (Squeezed(nn.Identity()), r"Squeezed: for one image it returns \[10\], not \[1, 10\]; use flatten"),
    ],
    ids=["indices", "one-axis", "no-batch", "one-logit", "squeezed"],
)
def test_what_is_no_logits_is_refused_with_its_shape(images, module, said):
    with pytest.raises(qhyvit.InputError, match=f"^{said}"):
        quantized(module, images)


RAN = r"holds results of a run with the history of their gradients; set it to None, or detach\(\) them"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (with_attributes(lock=Lock()), r"lock cannot be \(cannot pickle '_thread\.lock' object\); remove it or set it to None"),
        (with_attributes("stem", draws=(i for i in ())), r"stem\.draws cannot be \(cannot pickle 'generator' object\); remove .*"),
        (with_attributes(maps=[torch.ones(1, requires_grad=True) * 2]), f"maps {RAN}"),
        (with_attributes("fc", maps={"a": torch.ones(1, requires_grad=True) * 2}), rf"fc\.maps {RAN}"),
        (with_attributes(saved=torch.ones(1, requires_grad=True) * 2), f"saved {RAN}"),
        (changed(lambda net: net.register_buffer("saved", torch.ones(1, requires_grad=True) * 2)), f"saved {RAN}"),
        (with_attributes(__deepcopy__=lambda memo: 1 / 0), r"copy\.deepcopy fails \(division by zero\); give a module that it copies"),
    ],
    ids=["lock", "generator", "list", "dict", "tensor", "buffer", "unknown"],
)
def test_module_that_cannot_be_copied_is_refused_with_the_attribute(images, module, message):
    assert_refused(module, images, f"cannot be copied, since {message}")


def test_module_with_an_open_file_is_refused(images, tmp_path):
    with (tmp_path / "log").open("w") as file:
        message = r"log cannot be \(cannot pickle '_io\.TextIOWrapper' object\); remove it or set it to None"
        assert_refused(with_attributes(log=file), images, f"cannot be copied, since {message}")


def normed_by_hooks(stem):
    """Compute the weight from its spectral norm, as the hooks of the first run do."""
    nn.utils.spectral_norm(stem)
    stem(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("make", "advice", "follow"),
    [
        (lambda stem: prune.l1_unstructured(stem, "weight", 0.5), "prune.remove for it", lambda stem: prune.remove(stem, "weight")),
        (normed_by_hooks, "remove_spectral_norm, or use torch.nn.utils.parametrizations.spectral_norm in its place", None),
        (nn.utils.weight_norm, "remove_weight_norm, or use torch.nn.utils.parametrizations.weight_norm in its place", None),
    ],
    ids=["prune", "spectral", "weight"],
)
def test_advice_for_weights_that_are_computed_before_each_run_works(images, make, advice, follow):
    module = changed(lambda net: make(net.stem))
    said = r"cannot be copied, since stem\.weight is computed before each run and no parameter"
    assert_refused(module, images, f"{said}; call torch.nn.utils.{advice}")
    (follow or getattr(nn.utils, advice.partition(",")[0]))(module.stem)
    assert quantized(module, images)(images).shape == (5, 10)


@pytest.mark.parametrize(
    ("stem", "name"),
    [(nn.LazyConv2d(8, 4, 4), "weight"), (nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.LazyBatchNorm2d()), r"1\.weight")],
    ids=["conv", "norm"],
)
def test_lazy_module_is_refused_until_it_has_run(images, stem, name):
    module = changed(lambda net: setattr(net, "stem", stem)).eval()
    assert_refused(module, images, rf"stem\.{name} has no values, since its module is lazy; run the module once before, on an image")
    module(images)
    assert quantized(module, images)(images).shape == (5, 10)


def test_module_made_in_inference_mode_is_quantized_as_any_other(images):
    module = Net()
    with torch.inference_mode():
        made = Net()
        made.load_state_dict(module.state_dict())
    assert torch.equal(qhyvit.quantize(made, images)(images), qhyvit.quantize(module, images)(images))


def test_images_whose_gradients_are_wanted_are_refused(images):
    model = quantized(Net(), images)
    expected = model(images)
    assert torch.equal(model.requires_grad_()(images), expected)  # of parameters they are none
    images.requires_grad_()
    with pytest.raises(
        qhyvit.InputError, match=r"^images: require gradients, .*; call it under torch\.no_grad\(\), or with images\.detach"
    ):
        model(images)
    with torch.no_grad():
        assert torch.equal(model(images), expected)
    assert torch.equal(model(images.detach()), expected)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_buffer_is_named(images, layout):
    module = changed(lambda net: net.stem.register_buffer("table", torch.eye(2).to_sparse(layout=layout)))
    assert_refused(module, images, rf"stem\.table has the layout {layout}, which is not traced; make it dense by its method to_dense")


def test_script_within_a_module_is_named(images):
    module = nn.Sequential(Net(), torch.jit.script(nn.Linear(10, 10)))
    assert_refused(module, images, r"its part 1 is in TorchScript; put the original part in its place")


@pytest.mark.skipif(torch.cuda.is_available(), reason="it moves images to a GPU")
def test_data_parallel_within_a_module_is_its_module_without_a_gpu(images):
    net = Net()
    assert torch.equal(quantized(nn.Sequential(nn.DataParallel(net)), images)(images), quantized(net, images)(images))


@pytest.mark.parametrize("wrapped", [lambda model: model, nn.Sequential], ids=["itself", "within"])
def test_quantized_module_is_not_quantized_again(images, wrapped):
    module = Net()
    calibration = qhyvit.calibrate(module, images)
    model = wrapped(quantized(module, calibration))
    for given in (images, calibration):
        assert_refused(model, given, "is already quantized; give the original module")
