import pytest
import torch
from conftest import make_task
from torch import nn

from qhyvit.config.methods import MinmaxMethod
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        tokens = self.conv(x).flatten(2)
        return (tokens @ tokens.transpose(-2, -1)).flatten(1)


def quantized(percentile):
    torch.manual_seed(0)
    model, x = Layers(), torch.randn(8, 3, 20, 20)
    graph_module = trace(model, x)
    plain = {"granularity": ["per_tensor"], "scheme": ["asymmetric"]}
    method = MinmaxMethod(
        algorithm="minmax",
        weights={"granularity": ["per_channel"], "scheme": ["symmetric"]},
        activations=plain,
        matmuls=plain,
        percentile=percentile,
    )
    return model, x, find_quantizers(make_task(graph_module, [x], method, weight_bits=4, positions=4), "partial")


def test_minmax_covers_full_ranges_per_tensor_and_per_channel():
    model, x, quantizers = quantized(100)
    weight, activation = quantizers["conv"]["weight"], quantizers["conv"]["input"]
    torch.testing.assert_close(weight.scale, model.conv.weight.detach().abs().amax((1, 2, 3)) / 7)
    assert float(activation.scale) == pytest.approx(float(x.max() - x.min()) / 255, rel=1e-6)
    assert (weight.bits, activation.bits) == (4, 8)
    assert len(quantizers) == 2


def test_a_percentile_cuts_the_tails_of_activations_alone():
    _, x, whole = quantized(100)
    _, _, cut = quantized(99.9)
    low, high = torch.quantile(x.flatten(), torch.tensor([0.001, 0.999]))
    assert float(cut["conv"]["input"].scale) == pytest.approx(float(high - low) / 255, rel=1e-5)
    assert torch.equal(cut["conv"]["weight"].scale, whole["conv"]["weight"].scale)
