"""Networks of a user, exported and run by an engine: what its kernels or its converters do not expect."""

from functools import partial

import pytest
import torch
from torch import nn

import qhyvit
from qhyvit.deploy.engines import load_engine
from qhyvit.processor import adds_in_16_bits

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
of_engines = pytest.mark.parametrize("suffix", [".xml", ".onnx"])


class LearntQueries(nn.Module):
    """Attention of queries that depend on no image: a parameter, or that of a linear layer."""

    def __init__(self, linear):
        super().__init__()
        self.embed, self.key_value, self.head = nn.Conv2d(3, 16, 4, stride=4), nn.Linear(16, 32), nn.Linear(16, 5)
        self.queries = nn.Parameter(torch.randn(1, 4, 16))
        self.query = nn.Linear(16, 16) if linear else nn.Identity()

    def forward(self, x):
        key, value = self.key_value(self.embed(x).flatten(2).mT).chunk(2, -1)
        return self.head(((self.query(self.queries) @ key.mT).softmax(-1) @ value).mean(1))


class LearntMixing(nn.Module):
    """Products of tokens with a parameter, from either side."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, 16, 4, stride=4), nn.Linear(8, 5)
        self.of_tokens, self.of_channels = nn.Parameter(torch.randn(1, 4, 16)), nn.Parameter(torch.randn(1, 16, 8))

    def forward(self, x):
        return self.head((self.of_tokens @ self.embed(x).flatten(2).mT @ self.of_channels).mean(1))


class Pooled(nn.Module):
    """Activation that a mean over the pixels reads, and parameters with names that the exporter uses."""

    def __init__(self):
        super().__init__()
        self.conv2d_weight, self.linear_weight = nn.Parameter(torch.randn(8, 3, 3, 3)), nn.Parameter(torch.randn(5, 8))

    def forward(self, x):
        return nn.functional.linear(nn.functional.conv2d(x, self.conv2d_weight).relu().mean((2, 3)), self.linear_weight)


class Chain(nn.Module):
    """Convolutions in a row, whose biases ONNX Runtime may round."""

    def __init__(self):
        super().__init__()
        layers = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 16, 1)
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(16, 5)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x.mean((2, 3)))


class Residual(nn.Module):
    """Sums and activations that mode full rounds where they are computed, and again as operands of the layers behind them."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 16, 4, stride=4), nn.Linear(16, 16), nn.Linear(16, 5)
        self.blocks = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(8))

    def forward(self, x):
        x = self.stem(x).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        pooled = nn.functional.silu(x.mean((2, 3)))
        return self.head(pooled + self.mix(pooled))


class Gated(nn.Module):
    """Linear layers on vectors that are multiplied, or added to others, on the way to the next."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.embed, self.mix = kind, nn.Conv2d(3, 128, 4, stride=4), nn.Linear(128, 128)
        self.squeeze, self.gate, self.excite, self.head = (nn.Linear(*sizes) for sizes in [(128, 32), (128, 32), (32, 128), (128, 10)])

    def forward(self, x):
        x = self.mix(self.embed(x).flatten(2).mT)
        mean = x.mean(1)
        if self.kind == "product":
            joined = nn.functional.silu(self.squeeze(mean)) * self.gate(mean)
        else:
            joined = (self.squeeze(mean) + mean[:, :32]).relu()
        return self.head(x * self.excite(joined)[:, None]).mean(1)


class Repeated(nn.Module):
    """Convolutions that are applied twice."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, 64, 4, stride=4), nn.Linear(64, 5)
        self.first, self.second = (nn.Conv2d(64, 64, 3, padding=1) for _ in range(2))

    def forward(self, x):
        x = self.embed(x)
        for layer in (self.first, self.second) * 2:
            x = layer(x).relu()
        return self.head(x.mean((2, 3)))


class Activated(LearntQueries):
    """Queries whose activation function, and their sum, mode `full` quantizes."""

    def __init__(self):
        super().__init__(linear=True)

    def forward(self, x):
        key, value = self.key_value(self.embed(x).flatten(2).mT).chunk(2, -1)
        queries = nn.functional.silu(self.queries)
        queries = self.query(queries) * 2 + queries
        return self.head(((queries @ key.mT).softmax(-1) @ value).mean(1))


class Squared(LearntQueries):
    """Product of attention maps with themselves."""

    def __init__(self):
        super().__init__(linear=False)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).mT
        maps = (tokens @ tokens.mT).softmax(-1)
        return self.head((maps @ maps @ tokens).mean(1))


def exported_logits(module, path, **settings):
    """Logits of the simulation and those of the engine, of the same images, one after the other and again."""
    quantized = qhyvit.quantize(module.eval(), IMAGES, **settings)
    engine = load_engine(quantized.export(path).path, threads=1)
    with torch.no_grad():
        return quantized(IMAGES), torch.stack([engine.logits(IMAGES) for _ in range(2)])


@of_engines
@pytest.mark.parametrize("method", ["minmax", "qhyvit-integer"])
@pytest.mark.parametrize(
    "module",
    [partial(LearntQueries, linear=False), partial(LearntQueries, linear=True), LearntMixing],
    ids=["parameter", "linear", "mixing"],
)
def test_product_with_a_constant_is_right_in_every_inference(tmp_path, module, method, suffix):
    torch.manual_seed(0)
    simulated, found = exported_logits(module(), tmp_path / f"model{suffix}", method=method, bits="w6a6" if adds_in_16_bits() else "w8a8")
    assert float((found - simulated).abs().max() / simulated.abs().max()) < 1e-2  # a step of a grid, where a value is on a tie


@pytest.mark.parametrize("kind", ["product", "sum"])
def test_linear_layers_on_joined_vectors_are_right_with_one_thread(tmp_path, kind):
    torch.manual_seed(0)
    bits = "w7a8" if adds_in_16_bits() else "w8a8"
    simulated, found = exported_logits(Gated(kind), tmp_path / "model.xml", method="qhyvit-integer", bits=bits)
    assert float((found - simulated).abs().max() / simulated.abs().max()) < 1e-2


@of_engines
@pytest.mark.parametrize(("module", "mode"), [(Repeated, "partial"), (Activated, "full"), (Squared, "partial")])
def test_shared_weights_constants_of_mode_full_and_squares_are_exported(tmp_path, module, mode, suffix):
    torch.manual_seed(0)
    simulated, found = exported_logits(module(), tmp_path / f"model{suffix}", method="minmax", bits="w7a8", mode=mode)
    assert float((found - simulated).abs().max() / simulated.abs().max()) < 1e-3


def test_onnx_file_has_no_weight_of_a_repeated_layer_in_float(tmp_path):
    torch.manual_seed(0)
    quantized = qhyvit.quantize(Repeated().eval(), IMAGES, "minmax", "w8a8")
    size = quantized.export(tmp_path / "model.onnx").path.stat().st_size
    parameters = sum(value.numel() for value in Repeated().parameters())
    assert parameters < size < 2.5 * parameters


@of_engines
@pytest.mark.parametrize("bits", ["w7a8", "w4a5"])
def test_mode_full_is_exported_with_a_mean_and_any_name_of_a_parameter(tmp_path, bits, suffix):
    torch.manual_seed(0)
    simulated, found = exported_logits(Pooled(), tmp_path / f"model{suffix}", method="minmax", bits=bits, mode="full")
    assert float((found - simulated).abs().max() / simulated.abs().max()) < 1e-2


@of_engines
@pytest.mark.parametrize("bits", ["w7a7", "w4a4"])
@pytest.mark.parametrize(("module", "mode"), [(Chain, "partial"), (Chain, "full"), (Residual, "full")])
def test_no_bias_and_no_outermost_integer_is_lost_below_8_bits(tmp_path, module, mode, bits, suffix):
    torch.manual_seed(0)
    simulated, found = exported_logits(module(), tmp_path / f"model{suffix}", method="minmax", bits=bits, mode=mode)
    assert float((found - simulated).abs().max() / simulated.std(0).max()) < 1e-2
    if suffix == ".xml":
        assert load_engine(tmp_path / "model.xml").int8_share() == 1
