import copy
import pickle

import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import save_file
from torch import nn

from qhyvit.config.dataset import Dataset
from qhyvit.config.loading import read_yaml
from qhyvit.config.models import MODELS, Model
from qhyvit.errors import InputError
from qhyvit.models import zoo
from qhyvit.models.zoo import build, data_config, load_published_weights, load_weights

SPEC = Model(family="MobileViTv1", constructor="mobilevit_xxs")


@pytest.fixture(scope="module")
def model():
    return build(SPEC, classes=3)


def test_published_weights_are_those_that_timm_has(model, monkeypatch):
    published = build(SPEC, classes=3)
    asked = []
    monkeypatch.setattr(zoo.timm, "create_model", lambda name, **options: asked.append((name, options)) or published)
    own = copy.deepcopy(model)
    load_published_weights(own, SPEC)
    assert asked == [("mobilevit_xxs", {"pretrained": True})]
    for name, tensor in published.state_dict().items():
        assert torch.equal(own.state_dict()[name], tensor), name


def test_published_weights_that_cannot_be_had_are_one_line(model, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(zoo.timm, "create_model", fail)
    with pytest.raises(InputError, match=r"^mobilevit_xxs: no published weights could be loaded \(no route to host\); give a file of"):
        load_published_weights(model, SPEC)


def test_half_precision_weights_are_loaded_as_float32(model, tmp_path):
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    load_weights(model, tmp_path / "weights.safetensors")
    weight = model.state_dict()["stem.conv.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["stem.conv.weight"].float())


def test_weights_of_another_shape_are_refused(model, tmp_path):
    save_file(build(SPEC, classes=4).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=r"weights\.safetensors: does not fit the model .*head\.fc\.weight"):
        load_weights(model, tmp_path / "weights.safetensors")


def test_differences_leave_out_attention_biases_that_are_resized(tmp_path):
    spec = Model(family="EfficientFormer", constructor="efficientformer_l1")
    save_file(build(spec, classes=4, size=224).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=r"\(4 have another shape, first head\.weight: \[4, 448\] instead of \[3, 448\]\)"):
        load_weights(build(spec, classes=3, size=128), tmp_path / "weights.safetensors")


def test_missing_weights_are_refused(model, tmp_path):
    with pytest.raises(InputError, match="no such weights"):
        load_weights(model, tmp_path / "weights.safetensors")


def test_folder_is_no_file_of_weights(model, tmp_path):
    with pytest.raises(InputError, match="is a folder, no file; give a regular file") as error:
        load_weights(model, tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("0.weight", torch.int8), ("0.weight", torch.uint8), ("1.bias", torch.bool), ("1.running_mean", torch.complex64)],
)
def test_tensor_of_another_type_than_the_models_is_refused(tmp_path, name, dtype):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = network.state_dict()
    save_file(state | {name: torch.ones_like(state[name], dtype=dtype)}, tmp_path / "weights.safetensors")
    type_name = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=rf"weights\.safetensors: {name} is of type {type_name}, the model's of float32; give weights"):
        load_weights(network, tmp_path / "weights.safetensors")


def test_names_with_the_prefix_of_a_wrapper_lead_to_the_command_that_removes_it(model, tmp_path):
    save_file({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=r"names have the prefix of a wrapper, which `qhyvit fetch checkpoint` removes from those of a"):
        load_weights(model, tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("damage", "fix"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "replace it with an intact copy"),
        (lambda path: path.write_bytes(b""), "replace it with an intact copy"),
        (lambda path: torch.save({}, path), "`qhyvit fetch checkpoint` converts a checkpoint of PyTorch to one"),
    ],
    ids=["cut", "empty", "pytorch"],
)
def test_fix_of_a_damaged_file_is_not_that_of_a_checkpoint(model, tmp_path, damage, fix):
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    damage(path)
    with pytest.raises(InputError, match=rf"weights\.safetensors: not a safetensors file, or damaged \(.*\); {fix}$"):
        load_weights(model, path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("0.weight", torch.nan, "the parameter 0.weight holds values that are not finite"),
        ("1.bias", torch.inf, "the parameter 1.bias holds values that are not finite"),
        ("1.running_mean", torch.nan, "the buffer 1.running_mean holds NaN"),
        ("1.running_var", -1e-3, "the buffer 1.running_var holds variances that are negative or infinite"),
        ("1.running_var", torch.inf, "the buffer 1.running_var holds variances that are negative or infinite"),
    ],
)
def test_values_that_no_trained_network_has_are_refused(tmp_path, name, value, said):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = network.state_dict()
    state[name].view(-1)[1] = value
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=rf"weights\.safetensors: {said}; load or train other weights"):
        load_weights(network, tmp_path / "weights.safetensors")


class Trap:
    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


def test_a_pickle_is_refused_and_never_opened(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="not a safetensors file"):
        load_weights(model, tmp_path / "weights.safetensors")
    torch.save({"stem.conv.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="not a safetensors file"):
        load_weights(model, tmp_path / "weights.pth")
    assert not (tmp_path / "trap-was-sprung").exists()


@pytest.mark.parametrize(
    ("name", "interpolation", "mean", "std"),
    [  # torchvision's for its weights, TensorFlow's for its own
        ("mobilenetv2_100", "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tf_efficientnet_lite0", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_the_convolutional_networks_see_images_as_in_their_training(name, interpolation, mean, std):
    spec = read_yaml(REPOSITORY / "config/cnns.yaml", MODELS)[name]
    dataset = Dataset(name="any", classes=1000, calibration="calibration", evaluation="evaluation")
    found = data_config(build(spec, 1000), dataset)
    expected = {"input_size": (3, 224, 224), "crop_pct": 0.875, "interpolation": interpolation, "mean": mean, "std": std}
    assert expected.items() <= found.items()


def test_an_unknown_constructor_is_refused():
    with pytest.raises(InputError, match="model constructor 'mobilevit_xxxs'"):
        build(Model(family="", constructor="mobilevit_xxxs"), classes=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"act_layer": "nope"}, "KeyError: 'nope'"),
        ({"output_stride": 5}, "AssertionError; "),
        ({"block": "x"}, "AttributeError: 'str' object has no attribute 'expansion'"),
        ({"num_classes": 7}, r"TypeError: .*num_classes"),
    ],
)
def test_arguments_that_the_constructor_refuses_are_one_line(arguments, message):
    with pytest.raises(InputError, match=rf"model constructor 'resnet18': {message}.*correct its entry in the models file") as error:
        build(Model(family="", constructor="resnet18", arguments=arguments), classes=3)
    assert "\n" not in str(error.value)


def test_module_that_fails_is_named_with_its_error(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_network.py").write_text("1 / 0")
    with pytest.raises(InputError, match="model constructor 'own': ZeroDivisionError: division by zero; correct its entry"):
        build(Model(family="", constructor="own", module="failing_network"), classes=3)
