"""The cosine distance of EasyQuant against a loop over tokens that runs the real layer in float64, with its bias."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import REPOSITORY, make_task
from safetensors.torch import load_file
from small_sites import LAYERS, all_losses, make_candidates, make_problem, make_quantizer
from torch import nn

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.token_sampling import sample_tokens
from qhyvit.config.loading import read_yaml
from qhyvit.config.models import MODELS
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.models.zoo import build
from qhyvit.presets import load_preset
from qhyvit.quantizers.base import same_quantizer
from qhyvit.search.objectives import CHUNK, OBJECTIVES, CosineDistance
from qhyvit.search.site_problem import SiteProblem
from qhyvit.search.subsample import sampled

FACTORS = torch.tensor([0.5, 0.7, 1.0])  # at 0.3 a row of integers cancels, and what float32 leaves of it depends on the processor


def outputs(name, x, quantizers=None):
    """The outputs [heads, tokens, features] of the real layer or product in float64, quantized or not."""

    def operand(key, tensor):
        return (quantizers[key].fake_quantize(tensor) if quantizers else tensor).double()

    if name == "matmul":
        product = operand("left", x) @ operand("right", (x * 2 + 1).transpose(-2, -1))
        return product.transpose(0, 1).flatten(1, 2).numpy()
    layer = LAYERS[name]
    x, weight, bias = operand("input", x), operand("weight", layer.weight.detach()), layer.bias.detach().double()
    if name == "linear":
        return F.linear(x, weight, bias).flatten(0, -2)[None].numpy()
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, 1, layer.groups).permute(0, 2, 3, 1).flatten(0, 2)[None].numpy()


def distances(reference, quantized):
    """1 - cos of every token, one by one [heads, tokens]; a vector of zeros is as far from all others as an orthogonal one."""
    pairs = ((a, b) for head in zip(reference, quantized, strict=True) for a, b in zip(*head, strict=True))
    found = [1 - np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)) if a.any() and b.any() else 1.0 for a, b in pairs]
    return np.array(found).reshape(reference.shape[:2])


@pytest.mark.parametrize(("name", "granularity"), [*((name, "per_tensor") for name in [*LAYERS, "matmul"]), ("matmul", "per_channel")])
@pytest.mark.parametrize(("sizes", "chunk"), [((4,), CHUNK), ((2, 2), 1)])  # all at once, or in the smallest parts
@pytest.mark.parametrize("bits", [3, 8])
def test_losses_equal_a_float64_loop_over_tokens_with_bias(name, granularity, sizes, chunk, bits, monkeypatch):
    monkeypatch.setattr("qhyvit.search.objectives.CHUNK", chunk)
    problem, x = make_problem(name, sizes)
    reference = outputs(name, x)
    for operand, other in (problem.site.operands, problem.site.operands[::-1]):
        fixed = make_quantizer(problem, other, bits, "per_tensor", "symmetric")
        grids = [make_quantizer(problem, operand, bits, granularity, "symmetric", float(factor)) for factor in FACTORS]
        expected = [distances(reference, outputs(name, x, {operand: grid, other: fixed})).sum(1) for grid in grids]
        if granularity == "per_tensor":
            expected = [by_head.sum() for by_head in expected]
        found = all_losses(make_candidates(problem, operand, bits, granularity, "symmetric", FACTORS, "cosine"), fixed)
        np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=1e-4, atol=1e-12)


def token_problems(layer, x, positions, seeds):
    """The problem of a layer whose tokens are sampled, by each seed."""
    graph_module = trace(nn.Sequential(layer, nn.Flatten()), x)
    (site,) = sites = find_sites(graph_module)
    ranges = make_task(graph_module, x.split(2), None, positions=1).statistics[site.name].ranges
    for seed in seeds:
        read_rows = sample_tokens(graph_module, sites, x.split(2), positions, seed)[site.name]
        yield SiteProblem(site, layer.weight.detach(), SiteStatistics(ranges, read_rows), layer.bias.detach())


def losses(problem, rows=None):
    """The losses of three weights, with an input of 3 bits."""
    weights = make_candidates(problem, "weight", 3, "per_tensor", "symmetric", FACTORS, "cosine")
    return weights.losses(make_quantizer(problem, "input", 3, "per_tensor", "symmetric"), torch.arange(3), rows)


@pytest.mark.parametrize("layer", [*LAYERS.values()], ids=[*LAYERS])
def test_sampled_tokens_estimate_the_sum_over_all_without_bias(layer):
    x = F.silu(torch.randn(4, 4, 16, 5)) * torch.linspace(0.1, 3, 16).view(16, 1)
    (exact,) = (losses(problem) for problem in token_problems(layer, x, None, [0]))
    estimates = torch.stack([losses(problem) for problem in token_problems(layer, x, 7, range(24))])
    assert (estimates.std(0) > 0).all()
    assert ((estimates.mean(0) - exact).abs() < 4 * estimates.std(0) / 24**0.5).all()


def test_every_group_of_a_convolution_has_the_same_pixels():
    x = torch.randn(4, 1, 9, 7).expand(-1, 4, -1, -1).contiguous()
    (problem,) = token_problems(LAYERS["depthwise"], x, 6, [0])
    rows = problem.tensors["input"]
    assert torch.equal(rows, rows[:1].expand_as(rows))
    assert len(rows[0].unique(dim=0)) > 6
    assert CosineDistance().compares_all(problem, "weight")  # a sample of these rows would draw other pixels in each group


def test_some_rows_estimate_the_loss_of_all():
    x = torch.randn(4, 1024, 5) * torch.linspace(0.1, 3, 1024).view(-1, 1)
    (problem,) = token_problems(LAYERS["linear"], x, None, [0])
    assert sampled(problem, "weight", 256).tensors["input"].shape[1] == 256
    torch.testing.assert_close(losses(problem, 256), losses(problem), rtol=0.15, atol=0)


class Reversed(CosineDistance):
    """Cosine distance with every sum in the opposite order: over the terms of a product, the features and the tokens."""

    calls = 0

    def losses(self, problem, operand, granularity, candidates, other):
        self.calls += 1
        turned = problem.with_rows(
            reference=torch.matmul(*(tensor.flip(-2, -1) for tensor in problem.tensors.values())),
            gradient=problem.gradient.flip(-2, -1),
            importance=problem.importance.flip(-2),
            column_importance=problem.column_importance.flip(-1),
            bias=None if problem.output_bias is None else problem.output_bias.flip(-1).flatten(),
            outputs=slice(None),
        )
        axes = (-2, -1) if operand == problem.site.operands[0] else (-3, -1)
        return super().losses(turned, operand, granularity, candidates.flip(axes), other.flip(-2, -1))


def scales_in_both_orders(network, batches, monkeypatch, positions):
    """EasyQuant's quantizers with all sums in one order and in the other, as pairs by site and operand."""
    graph_module = trace(network, batches[0])
    fold_batch_norm(graph_module)
    task = make_task(graph_module, batches, load_preset("easyquant"), positions=positions)
    found, turned = [], Reversed()
    for objective in (CosineDistance(), turned):
        monkeypatch.setitem(OBJECTIVES, "cosine", objective)
        found.append(find_quantizers(task, "partial"))
    assert turned.calls > 0
    return {(site, operand): (one, found[1][site][operand]) for site, of in found[0].items() for operand, one in of.items()}


class Small(nn.Module):
    """A dense and a depthwise convolution, an attention and linear layers."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 16, 3, stride=2), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.queries, self.head = nn.Linear(16, 24), nn.Linear(24, 10)

    def forward(self, x):
        x = F.silu(self.depthwise(F.silu(self.stem(x)))).flatten(2).transpose(1, 2)
        heads = self.queries(x).unflatten(2, (2, 12)).transpose(1, 2)
        attended = (heads @ heads.transpose(-2, -1)).softmax(-1) @ heads
        return self.head(attended.transpose(1, 2).flatten(2).mean(1))


def test_order_of_sums_does_not_decide_on_a_small_network(monkeypatch):
    pairs = scales_in_both_orders(Small(), torch.randn(8, 3, 24, 24).split(4), monkeypatch, positions=16)
    assert len(pairs) == 12
    assert [key for key, pair in pairs.items() if not same_quantizer(*pair)] == []


@pytest.mark.slow
def test_order_of_sums_does_not_decide_on_mobilevitv2_050(monkeypatch):
    network = build(read_yaml(REPOSITORY / "config/models.yaml", MODELS)["mobilevitv2_050"], 10, 128).eval()
    network.load_state_dict(load_file(REPOSITORY / "data/weights/mobilevitv2_050.safetensors"))
    pairs = scales_in_both_orders(network, torch.rand(32, 3, 128, 128).split(4), monkeypatch, positions=64)
    assert len(pairs) == 130
    assert [key for key, pair in pairs.items() if not same_quantizer(*pair)] == []
