import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qhyvit
from qhyvit.calibration.importance_sampling import sample_positions, sample_rows
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class Attention(nn.Module):
    def forward(self, x):
        return (x @ x.transpose(-2, -1)) @ x


torch.manual_seed(0)  # these weights are drawn at import, before any fixture
CONVOLUTIONS = [
    nn.Conv2d(6, 4, 3, padding=1, bias=False),
    nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=6, bias=False),
    nn.Conv2d(6, 4, 3, padding=(2, 1), dilation=(2, 1), groups=2, bias=False),
    nn.Conv2d(6, 4, 1, stride=2, bias=False),
]


def all_rows(module: nn.Module, x: torch.Tensor, operands, positions=None, seed=0):
    """The rows of the module's only site, with the output itself in place of the gradient."""
    site = find_sites(trace(module, x))[0]
    output = F.linear(*operands) if site.kind == "linear" else module(x)
    return site, sample_rows(site, operands, output, len(x), positions, torch.Generator().manual_seed(seed)), output


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=["dense", "depthwise", "grouped-dilated", "pointwise"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["channels-first", "channels-last"])
def test_patches_times_weights_are_the_convolution(conv, layout):
    x = torch.randn(3, 6, 9, 7).to(memory_format=layout)
    site, rows, output = all_rows(conv, x, (x, conv.weight.detach()))
    product = rows.left @ conv.weight.reshape(site.groups, -1, rows.left.shape[2]).transpose(1, 2)
    torch.testing.assert_close(product, rows.gradient, atol=1e-5, rtol=1e-5)
    assert rows.gradient.numel() == output.numel()


def test_linear_rows_are_the_tokens():
    linear, x = nn.Linear(5, 7, bias=False), torch.randn(2, 4, 5)
    _, rows, output = all_rows(linear, x, (x, linear.weight.detach()))
    torch.testing.assert_close(rows.left[0], x.reshape(-1, 5))
    torch.testing.assert_close(rows.gradient[0], output.reshape(-1, 7))


def test_matmul_rows_keep_heads_apart():
    x = torch.randn(2, 3, 5, 4)
    site = find_sites(trace(Attention(), x))[0]
    left, right = x, x.transpose(-2, -1)
    rows = sample_rows(site, (left, right), left @ right, 2, None, torch.Generator())
    for head in range(3):
        torch.testing.assert_close(rows.left[head] @ rows.right[head], (left @ right)[:, head])


class HeadsFirst(nn.Module):
    """Attention [heads, B, N, D] of an image [B, N, heads, D], returned as [B, heads, N, D]."""

    def forward(self, x):
        x = x.permute(2, 0, 1, 3)
        return ((x @ x.mT).softmax(-1) @ x).transpose(0, 1)


def test_images_are_no_heads():
    x = torch.randn(2, 5, 3, 4)
    site = find_sites(trace(HeadsFirst(), x))[0]
    left = x.permute(2, 0, 1, 3)
    rows = sample_rows(site, (left, left.mT), left @ left.mT, 2, None, torch.Generator())
    torch.testing.assert_close(rows.left[0] @ rows.right[0], (left @ left.mT).flatten(0, 1))
    network = nn.Sequential(HeadsFirst(), nn.Flatten(), nn.Linear(60, 4)).eval()
    images = torch.randn(6, 5, 3, 4)
    with torch.no_grad():
        expected = network(images)
        for method in ("minmax", "qhyvit"):
            quantized = qhyvit.quantize(network, images, method=method)
            torch.testing.assert_close(quantized(images), expected, atol=0.05, rtol=0)
            torch.testing.assert_close(quantized(images[:1]), quantized(images)[:1])


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=["dense", "depthwise", "grouped-dilated", "pointwise"])
def test_the_sampled_sum_of_squares_is_an_unbiased_estimate(conv):
    x = torch.randn(2, 6, 8, 8) * torch.linspace(0.1, 3, 8)
    exact = float(all_rows(conv, x, (x, conv.weight.detach()))[2].square().sum())
    estimates = torch.tensor(
        [float(all_rows(conv, x, (x, conv.weight.detach()), 5, seed)[1].gradient.square().sum()) for seed in range(12)]
    )
    assert estimates.std() > 0
    assert abs(float(estimates.mean()) - exact) < 4 * float(estimates.std()) / 12**0.5


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=["dense", "depthwise", "grouped-dilated", "pointwise"])
def test_gradient_of_sampled_row_is_multiplied_by_importance(conv):
    x = torch.randn(3, 6, 9, 7)
    site, rows, _ = all_rows(conv, x, (x, conv.weight.detach()), positions=5)
    product = rows.left @ conv.weight.reshape(site.groups, -1, rows.left.shape[2]).transpose(1, 2)
    torch.testing.assert_close(product * rows.importance, rows.gradient, atol=1e-5, rtol=1e-4)
    assert rows.importance.unique().numel() > 1


def test_what_a_grid_cuts_off_at_few_positions_is_in_the_sample():
    linear, x, gradient = nn.Linear(8, 5, bias=False), torch.randn(2, 2048, 8), torch.randn(2, 2048, 5)
    x[0, 7, 3] = x[1, 900, 5] = x[1, 1500, 2] = 30
    site, weight = find_sites(trace(linear, x))[0], linear.weight.detach()

    def lost(inputs):
        return (inputs - inputs.clamp(max=10)) @ weight.t()

    def estimate(seed):
        rows = sample_rows(site, (x, weight), gradient, 2, 64, torch.Generator().manual_seed(seed))
        return float((lost(rows.left) * rows.gradient).square().sum())

    exact = float((lost(x) * gradient).square().sum())
    assert [estimate(seed) for seed in range(20)] == pytest.approx([exact] * 20, rel=0.6)


def test_position_is_drawn_as_often_as_its_probability_says():
    energy, inputs = torch.rand(3, 50) ** 4, torch.rand(3, 50)
    index, factor = sample_positions(energy, (inputs, inputs**2), 40, torch.Generator().manual_seed(0))
    times = torch.zeros(3, 50).scatter_add_(1, index, torch.ones(3, 40)).gather(1, index)
    assert times.max() > 2
    assert ((times - factor**-2).abs() < 1).all()


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-30])
def test_energies_may_be_as_small_as_numbers_get(scale):
    energy, moments = torch.rand(3, 50), (torch.rand(3, 50), torch.rand(3, 50))
    index, factor = sample_positions(energy * scale, moments, 10, torch.Generator().manual_seed(0))
    usual, _ = sample_positions(energy, moments, 10, torch.Generator().manual_seed(0))
    assert torch.equal(index, usual) == (scale == 1e-30)
    if scale < 1e-38:  # no more is known than that all is alike
        assert factor.unique().tolist() == pytest.approx([(50 / 10) ** 0.5])
