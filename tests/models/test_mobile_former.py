"""Mobile-Former against figures measured on the released network code (AAboys/MobileFormer)."""

import hashlib
import math
from collections import Counter
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from qhyvit.models import mobile_former  # registers the networks

import timm  # isort: skip  # importable once the line above has fixed torchvision

SMALLEST = "mobile_former_26m"


class Expected(NamedTuple):
    """Measured on the released network code: 224 pixels, batch 1, 1000 classes, weights and image as made below."""

    parameters: int
    keys: int
    digest: str  # SHA-256 of the sorted state-dict keys with their shapes
    conv_macs: int
    linear_macs: int
    attention_macs: int
    attentions: int
    logits: tuple[float, ...]  # the first eight
    mean: float
    std: float
    argmax: int
    largest: float
    second: tuple[float, ...]  # first four logits of the mirrored, weaker image, next to the first in a batch


# fmt: off
EXPECTED = {
    "mobile_former_26m": Expected(
        3_232_788, 460, "9b6c4255452683fa3e14886efb2ab703ee40d709a71615df25219587802e3c3a",
        16_708_608, 5_204_992, 1_636_608, 25,
        (0.401298, 0.538688, 0.818093, 0.184584, 0.572080, 0.016883, -0.337434, 0.021965),
        0.01030, 0.78023, 778, 2.79966, (0.29034, 0.35507, 0.81735, 0.14095),
    ),
    "mobile_former_52m": Expected(
        3_469_092, 460, "b425764cf4b3f3994264eed6d3ddcc33c547935899134e76e13411fb81115ca9",
        42_448_896, 5_204_992, 1_636_608, 25,
        (0.361405, 0.508251, 0.295628, 0.643391, 0.982751, 1.205877, -0.310032, 0.012797),
        -0.04110, 0.78430, 931, 2.48330, (0.44268, 0.43644, 0.33096, 0.66667),
    ),
    "mobile_former_96m": Expected(
        4_585_252, 466, "c6abb0287c3f58ceb9d4f675ec942182c6fa7358635eca34ea9717219dc0a7dd",
        80_915_856, 7_380_480, 3_720_704, 25,
        (0.362805, 0.149466, 0.291497, 0.760781, 0.110287, 0.047916, -1.311526, -0.499201),
        -0.00037, 0.85430, 876, 3.24399, (0.01215, 0.22793, 0.39550, 0.94724),
    ),
    "mobile_former_151m": Expected(
        7_595_828, 616, "c602b8458a6cecb0c8b44a16717929161da3043fdd745814986a20a4ac91d4f2",
        116_205_264, 22_591_232, 7_452_672, 34,
        (-1.455145, 1.002130, 0.652428, 1.199587, -0.083325, 0.007738, 0.943023, -0.087949),
        -0.02582, 0.93567, 744, 3.11813, (-1.31886, 1.12224, 1.77457, 1.59250),
    ),
    "mobile_former_214m": Expected(
        9_425_920, 616, "b4ae7a27d37176ff61deb38d73ed72b2e1b9ac3ba52c00d09a32eec9d7b9529e",
        174_661_088, 24_868_096, 8_845_056, 34,
        (-0.083280, -0.185381, 0.436066, -0.479752, -0.743662, 1.472442, 0.274762, 1.549185),
        -0.01385, 0.99458, 398, 3.36700, (-0.42381, -0.00674, 1.00077, -0.08335),
    ),
    "mobile_former_294m": Expected(
        11_422_648, 616, "868d127b4d47b802f3b67e0112520e03adcaaa1b99083ac4fd8cafeb9b86a72f",
        248_791_424, 27_176_448, 10_764_288, 34,
        (-0.288009, 0.307928, 1.502696, 0.274803, 0.635308, -0.414272, -1.599851, 0.365017),
        -0.05435, 1.28299, 550, 3.86502, (-0.64844, 0.94879, 1.45289, -0.21693),
    ),
    "mobile_former_508m": Expected(
        13_976_976, 616, "cbfc39c01e63d0942643048dd8523b0d6ea096377b0b50edc615db77f1452804",
        451_958_752, 30_306_816, 16_202_112, 34,
        (-0.238218, 0.505483, -1.067914, 0.229379, -0.751272, -1.472233, 1.476787, 1.397670),
        -0.02538, 1.16316, 756, 4.06212, (-0.80602, 0.36241, -0.73059, 0.35966),
    ),
}
# First eight logits in double precision, which tell small slips (the epsilon of a norm, an approximate GELU) apart.
DOUBLE_LOGITS = {
    "mobile_former_26m":
        (0.40129711, 0.53868898, 0.81809399, 0.18458511, 0.57207984, 0.01688261, -0.33743465, 0.02196475),
    "mobile_former_96m":
        (0.36280487, 0.14946505, 0.29149770, 0.76078209, 0.11028786, 0.04791693, -1.31152666, -0.49920073),
    "mobile_former_508m":
        (-0.23821993, 0.50548409, -1.06791389, 0.22937790, -0.75127255, -1.47223467, 1.47678665, 1.39767085),
}
# fmt: on


def noise(index: int, count: int) -> Tensor:
    """`count` numbers in [-1, 1) from integer hashes, the same on every machine; float64."""
    hashed = (index + 1) * 10_000_019 + torch.arange(count, dtype=torch.int64)
    hashed = (hashed * 1_103_515_245 + 12_345) % 2**32
    hashed = hashed ^ (hashed >> 15)
    hashed = (hashed * 1_664_525 + 1_013_904_223) % 2**32
    hashed = hashed ^ (hashed >> 13)
    return 2 * (hashed.double() / 2**32) - 1


def gain(key: str) -> float:
    """Scale that sharpens the attentions and keeps the residual branches of the tokens small."""
    if key.endswith((".q.weight", ".k.weight")):
        return 2.0
    if key.endswith(("local_global.proj.weight", "global_block.channel_mlp.weight", "global_block.ffn.2.weight")):
        return 0.25
    return 1.0


def reference_weight(index: int, key: str, shape: torch.Size) -> Tensor:
    values = noise(index, math.prod(shape)).reshape(shape)
    if key.endswith(".num_batches_tracked"):
        return torch.tensor(0)
    if key == "tokens.weight":
        weight = values
    elif key.endswith((".bias", ".running_mean")):
        weight = 0.1 * values
    elif key.endswith(".running_var"):
        weight = 1 + 0.25 * values
    elif len(shape) == 1:
        weight = 1 + 0.1 * values
    else:
        weight = gain(key) * values * math.sqrt(3 / math.prod(shape[1:]))
    return weight.float()


def reference_weights(model: nn.Module) -> dict[str, Tensor]:
    entries = sorted(model.state_dict().items())
    return {key: reference_weight(index, key, value.shape) for index, (key, value) in enumerate(entries)}


def reference_images() -> Tensor:
    """An image and its mirrored, weaker copy: (2, 3, 224, 224)."""
    place = torch.arange(1, 225, dtype=torch.float64)
    channel = torch.arange(1, 4, dtype=torch.float64)
    image = 2 * torch.sin(0.05 * place[None, :, None] * channel[:, None, None] + 0.03 * place)
    return torch.stack((image, 0.7 * image.flip(2))).float()


def reference_model(name: str) -> nn.Module:
    model = timm.create_model(name).eval()
    model.load_state_dict(reference_weights(model), strict=True)
    return model


class MacCounter(TorchDispatchMode):
    """Multiply-accumulates of the products of two activations, which no module owns."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.bmm.default:
            self.macs += result.numel() * args[0].shape[-1]
        return result


def count_macs(model: nn.Module, images: Tensor) -> tuple[int, int, int]:
    """Multiply-accumulates of convolutions, linear layers and attention products."""
    macs = {nn.Conv2d: 0, nn.Linear: 0}

    def add(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        macs[type(module)] += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if type(module) in macs:
            module.register_forward_hook(add)
    with MacCounter() as products, torch.no_grad():
        model(images)
    return macs[nn.Conv2d], macs[nn.Linear], products.macs


def test_all_sizes_are_registered():
    assert timm.list_models("mobile_former_*") == list(EXPECTED) == list(mobile_former.SIZES)


@pytest.mark.parametrize("name", EXPECTED)
def test_counts_are_those_of_the_released_code(name):
    model = timm.create_model(name).eval()
    expected = EXPECTED[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == expected.parameters
    macs = count_macs(model, torch.zeros(1, 3, 224, 224))
    assert macs == (expected.conv_macs, expected.linear_macs, expected.attention_macs)


@pytest.mark.parametrize("name", EXPECTED)
def test_state_dict_has_the_keys_and_shapes_of_the_released_code(name):
    state = timm.create_model(name).state_dict()
    lines = sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    assert len(lines) == EXPECTED[name].keys
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == EXPECTED[name].digest


def test_layers_are_registered_in_the_order_of_the_released_code():
    layers = [n for n, m in timm.create_model(SMALLEST).named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    token_side = "local_global.alpha.0 local_global.q local_global.proj global_block.ffn.0 global_block.ffn.2"
    token_side = (token_side + " global_block.q global_block.channel_mlp global_local.k global_local.proj").split()
    assert len(layers) == 140
    assert layers[10:19] == [f"features.1.{name}" for name in token_side]
    assert layers[27:36] == [f"features.2.{name}" for name in token_side]
    assert [layers.index(f"features.{n}.conv1.0") for n in range(1, 9)] == [3, 19, 36, 52, 69, 85, 101, 118]
    assert layers.index("classifier.conv.1") == 137


@pytest.mark.parametrize("name", EXPECTED)
def test_logits_are_those_of_the_released_code(name):
    expected = EXPECTED[name]
    with torch.no_grad():
        first, second = reference_model(name)(reference_images())
    torch.testing.assert_close(first[:8], torch.tensor(expected.logits), atol=2e-5, rtol=0)
    torch.testing.assert_close(second[:4], torch.tensor(expected.second), atol=2e-5, rtol=0)
    summary = torch.stack((first.mean(), first.std(), first.max()))
    torch.testing.assert_close(summary, torch.tensor((expected.mean, expected.std, expected.largest)), atol=2e-5, rtol=0)
    assert first.argmax() == expected.argmax


@pytest.mark.parametrize("name", DOUBLE_LOGITS)
def test_double_precision_logits_are_those_of_the_released_code(name):
    with torch.no_grad():
        logits = reference_model(name).double()(reference_images()[:1].double())
    expected = torch.tensor(DOUBLE_LOGITS[name], dtype=torch.float64)
    torch.testing.assert_close(logits[0, :8], expected, atol=5e-8, rtol=0)


def test_checkpoint_file_of_the_released_training_loads(tmp_path):
    weights = reference_weights(timm.create_model(SMALLEST))
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "model.pth.tar")
    loaded = timm.create_model(SMALLEST, checkpoint_path=str(tmp_path / "model.pth.tar")).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())


def test_strict_load_refuses_a_missing_and_a_foreign_key():
    model = timm.create_model(SMALLEST)
    state = model.state_dict()
    state["features.1.se.weight"] = state.pop("features.1.global_local.k.bias")
    with pytest.raises(RuntimeError, match=r"features\.1\.global_local\.k\.bias") as error:
        model.load_state_dict(state, strict=True)
    assert "features.1.se.weight" in str(error.value)


@pytest.mark.parametrize("name", EXPECTED)
def test_default_cfg_names_the_first_convolution_and_the_classifier(name):
    model = timm.create_model(name, num_classes=10, in_chans=1)
    assert model.get_submodule(model.default_cfg["first_conv"]).in_channels == 1
    assert model.get_submodule(model.default_cfg["classifier"]).out_features == model.num_classes == 10
    data = timm.data.resolve_data_config(model=model)
    assert (data["input_size"], data["crop_pct"], data["interpolation"]) == ((3, 224, 224), 0.875, "bilinear")
    assert (data["mean"], data["std"]) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(("kwargs", "rate"), [({}, 0.1), ({"drop_rate": 0.0}, 0.0), ({"drop_rate": 0.5}, 0.5)])
def test_drop_rate_is_the_published_one_unless_given(kwargs, rate):
    assert timm.create_model(SMALLEST, **kwargs).classifier.classifier[0].p == rate


def test_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="use_se"):
        timm.create_model(SMALLEST, use_se=True)


@pytest.mark.slow  # test_networks.py exports it too
def test_export_keeps_the_batch_free_and_the_products_visible():
    model = reference_model(SMALLEST)
    images = reference_images()[:, :, :128, :96]  # not square, so that height and width cannot be confused
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for batch in (images[:1], images, images.repeat(2, 1, 1, 1)[:3]):
        with torch.no_grad():
            assert torch.equal(program.module()(batch), model(batch))
    operators = Counter(node.target for node in program.graph.nodes)
    assert operators[torch.ops.aten.matmul.default] == 2 * EXPECTED[SMALLEST].attentions
    assert operators[torch.ops.aten.softmax.int] == EXPECTED[SMALLEST].attentions
    assert not any("scaled_dot_product" in str(operator) for operator in operators)


def test_initial_weights_have_the_published_spread():
    torch.manual_seed(0)
    model = timm.create_model("mobile_former_508m")
    pointwise = model.features[11].conv1[0].weight  # 1440 outputs, 1x1
    depthwise = model.features[11].conv2[0].weight  # 1440 outputs, 3x3
    assert pointwise.std().item() == pytest.approx(math.sqrt(2 / 1440), rel=0.02)
    assert depthwise.std().item() == pytest.approx(math.sqrt(2 / (9 * 1440)), rel=0.02)
    assert model.classifier.fc[0].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert model.tokens.weight.std().item() == pytest.approx(1, rel=0.1)
    assert all(not m.bias.any() for m in model.modules() if isinstance(m, nn.Linear))


def test_training_reduces_the_loss():
    torch.manual_seed(0)
    model = timm.create_model(SMALLEST, num_classes=4).train()
    images, labels = torch.randn(8, 3, 64, 64), torch.arange(8) % 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(10):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(4), abs=0.25)
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())
