"""Networks that the project has no code for, from their constructor to an exported file that runs as the simulation does."""

import pytest
import timm
import torch
from torch import nn

import qhyvit
from qhyvit.evaluation.agreement import agreement
from qhyvit.evaluation.rounding_noise import DisturbedSimulation

pytest.importorskip("openvino")

HYBRIDS = {  # of ten families of timm, with the side of their images in pixels
    "fastvit_t8": 64,
    "edgenext_xx_small": 64,
    "repvit_m0_9": 64,
    "efficientvit_b0": 64,
    "tiny_vit_5m_224": 224,
    "levit_128s": 224,
    "coatnet_pico_rw_224": 224,
    "efficientvit_m0": 224,
    "pvt_v2_b0": 64,
    "poolformerv2_s12": 64,
}


class ConvolutionThenAttention(nn.Module):
    """A patch embedding and PyTorch's own encoder layer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).mT).mean(1))


class SeparableConvolutions(nn.Module):
    """Depthwise, grouped and pointwise convolutions with norms, and gating by the mean."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.grouped(self.depthwise(self.stem(x)).relu())
        return self.head((x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()).mean((2, 3)))


class TokensOverChannels(nn.Module):
    """Attention between channels, scaled by a learnt temperature, after a norm of tokens."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, stride=4)
        self.norm = nn.LayerNorm(12)
        self.qkv = nn.Linear(12, 36)
        self.temperature = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(self.stem(x).flatten(2).transpose(1, 2))).transpose(1, 2).chunk(3, 1)
        attention = (nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(k, dim=-1).transpose(1, 2) * self.temperature).softmax(-1)
        return self.head((attention @ v).mean(2))


class ConvolvedPositions(nn.Module):
    """An embedding of positions by a convolution that sees no image but their number, before a convolution of the sum."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Conv2d(1, 3, 3, padding=1)
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1).expand(x.shape[0], 1, -1, x.shape[3])
        return self.head(self.stem(x + self.positions(rows)).relu().mean((2, 3)))


def require_equal_export(module, size, path, method):
    """Quantize with weights of 6 bits, which all processors add exactly, and compare the file with the simulation."""
    from qhyvit.deploy.engines import load_engine

    images = torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    quantized = qhyvit.quantize(module, images, method=method, bits="w6a6")
    exported = quantized.export(path)
    engine, expected = load_engine(path, threads=1), quantized(images)
    found = engine.logits(images)
    wrong = [check.site for check in exported.checks if not check.agrees]
    of_ties = agreement(expected, DisturbedSimulation(quantized.traced, quantized.quantizers)(images))["largest_difference"]
    difference = agreement(expected, found)["largest_difference"]
    print(f"{path.stem}: difference {difference:.1e}, that of ties {of_ties:.1e}, int8 {engine.int8_share():.3f}")
    assert wrong == []
    assert difference <= max(1e-5, 3 * of_ties)
    assert engine.int8_share() >= 0.9


@pytest.mark.parametrize(
    "constructor",
    [
        ConvolutionThenAttention,
        ConvolvedPositions,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (SeparableConvolutions, TokensOverChannels)),
    ],
)
def test_module_of_ones_own_runs_as_an_exported_file(tmp_path, constructor):
    require_equal_export(constructor().eval(), 32, tmp_path / f"{constructor.__name__}.xml", "qhyvit-integer")


@pytest.mark.slow
@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrid_of_timm_runs_as_an_exported_file(tmp_path, name):
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=10).eval()
    require_equal_export(module, HYBRIDS[name], tmp_path / f"{name}.xml", "minmax")
