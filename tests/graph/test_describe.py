import torch
from tiny_hybrid import TinyHybrid
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import qhyvit
from qhyvit.graph.describe import describe


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.layer_norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.layer_norm(self.depthwise(self.norm(self.conv(x))).flatten(2).transpose(1, 2))
        return self.head((tokens @ tokens.transpose(1, 2) @ tokens).mean(1))


def test_multiplications_and_norms_are_as_counted_by_hand():
    description = describe(Small(), torch.zeros(2, 3, 8, 8))
    macs = {site["name"]: site["macs"] for site in description["sites"]}
    assert [macs["conv"], macs["depthwise"], macs["head"]] == [8 * 16 * 27, 8 * 16 * 9, 8 * 5]
    assert sorted(macs.values())[-2:] == [16 * 16 * 8, 8 * 16 * 27]
    assert description["norms"] == {"batch_norm": 1, "layer_norm": 1, "batch_norm_folded": 1}
    assert description["parameters"] == sum(parameter.numel() for parameter in Small().parameters())
    assert description["sites"][0]["granularity"] == ["per_tensor", "per_channel"]
    assert description["sites"][3]["reads"] == ["depthwise", description["sites"][2]["name"]]


class Complex(nn.Module):
    """Rotary embeddings and a Fourier transform, by complex numbers."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 4)
        self.angles = nn.Buffer(torch.randn(16, 4))

    def forward(self, x):
        x = self.conv(x).flatten(2).mT
        pairs = torch.view_as_complex(x.unflatten(2, (4, 2)).contiguous())
        turned = pairs * torch.polar(torch.ones(16, 4), self.angles)
        x = torch.view_as_real(turned + pairs).flatten(2)
        frequencies = torch.fft.fft(x, dim=1)
        return self.head((frequencies.imag + frequencies.real.flip(1)).mean(1))


def test_network_with_complex_numbers_is_described_and_quantized():
    model, images = Complex(), torch.randn(4, 3, 16, 16)
    assert [site["name"] for site in describe(model, images[:2])["sites"]] == ["conv", "head"]
    quantized = qhyvit.quantize(model, images, method="minmax", mode="full")
    expected = model(images)
    assert float((quantized(images) - expected).norm()) < 0.05 * float(expected.norm())


def test_multiplications_are_as_pytorch_counts_them():
    model, image = TinyHybrid().eval(), torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    description = describe(model, image.expand(2, -1, -1, -1))
    assert sum(site["macs"] for site in description["sites"]) == counter.get_total_flops() // 2
