"""PTQ4ViT against loops in float64 and, for its stacked search, against the convolution that it runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_task
from torch import nn

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.ptq4vit import StackedCandidates, candidates_of
from qhyvit.quantizers.twin import GELU_MINIMUM, SILU_MINIMUM, AddedTwinUniformQuantizer, TwinUniformQuantizer
from qhyvit.search.candidates import UniformCandidates

CONFIG = read_yaml(Path(__file__).parents[2] / "config/methods.yaml", METHODS)
BITS = 4
HALF = 2 ** (BITS - 1)
FACTORS = {"ptq4vit": np.linspace(0.01, 1.2, 100), "ptq4vit-released": 0.01 + np.arange(100) / 100 * 1.19}
ENTRIES = list(FACTORS)


def settings(entry, **changes):
    """An entry of the configuration, with Fisher gradients: those of the released code are noise, which no loop reproduces."""
    return CONFIG[entry].model_copy(update={"gradients": "fisher"} | changes)


def task_of(model, x, method):
    return make_task(trace(model, x), [x], method, weight_bits=BITS, activation_bits=BITS)


def exact(tensor):
    return tensor.detach().numpy().astype(np.float64)


def uniform(x, scale):
    return np.clip(np.round(x / scale), -HALF, HALF - 1) * scale


def covering(x):
    """The symmetric scale of the full range."""
    return np.abs(x).max() / (HALF - 1)


def error(left, right, rows, candidate):
    """The Fisher-weighted squared errors of candidate operands, of all elements of the product."""
    return ((candidate[0] @ candidate[1] - left @ right) * exact(rows.gradient)) ** 2


class SoftmaxProduct(nn.Module):
    """Two heads: the softmax of one convolution's scores times the values of another."""

    def __init__(self):
        super().__init__()
        self.scores, self.values = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return ((3 * self.scores(x)).softmax(3) @ self.values(x)).flatten(1)


def halves(x, split, entry):
    """Both halves by the paper, either of them; by the code, their sum."""
    step = split / (HALF - 1)
    low = np.round(np.clip(x, 0, split) / step) * step
    high = np.round(np.clip(x, split, 1) * (HALF - 1)) / (HALF - 1)
    return low + high if entry == "ptq4vit-released" else np.where(x < split, low, high)


@pytest.mark.parametrize("entry", ENTRIES)
def test_softmax_split_is_best_of_twenty_given_the_values(entry):
    task = task_of(SoftmaxProduct(), torch.randn(2, 3, 6, 6), settings(entry, rounds=1))
    site = task.model.sites[-1]
    found = find_quantizers(task, "partial")[site.name]
    problem, rows = task.problem(site), task.statistics[site.name].rows
    left, right = exact(problem.tensors["left"]), exact(problem.tensors["right"])  # [heads, images, N, N] and [heads, images, N, M]

    full = np.stack([uniform(head, covering(head)) for head in right])
    losses = [error(left, right, rows, (halves(left, 2.0**-octave, entry), full)).sum() for octave in range(20)]
    assert found["left"].boundary == 2.0 ** -int(np.argmin(losses))
    assert list(found) == ["left", "right"]
    assert type(found["left"]) is (AddedTwinUniformQuantizer if entry == "ptq4vit-released" else TwinUniformQuantizer)

    twin = halves(left, found["left"].boundary, entry)
    for head in range(2):
        scales = FACTORS[entry] * covering(right[head])
        losses = [error(left, right, rows, (twin, uniform(right, scale)))[head].sum() for scale in scales]
        assert float(found["right"].scale[head]) == pytest.approx(scales[np.argmin(losses)], rel=1e-5)


class ActivatedLinear(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.activation, self.layer = activation, nn.Linear(8, 5)

    def forward(self, x):
        return self.layer(self.activation(x))


def activation_twin(x, scale, lowest):
    step = -lowest / HALF
    return np.where(x < 0, np.clip(np.round(x / step), -HALF, 0) * step, np.clip(np.round(x / scale), 0, HALF - 1) * scale)


@pytest.mark.parametrize(
    ("entry", "activation", "lowest"),
    [
        ("ptq4vit", nn.GELU(), GELU_MINIMUM),
        ("ptq4vit", nn.SiLU(), SILU_MINIMUM),
        ("ptq4vit-released", nn.SiLU(), GELU_MINIMUM),
    ],
)
def test_activation_scale_is_best_of_hundred_given_the_weight(entry, activation, lowest):
    task = task_of(ActivatedLinear(activation), torch.randn(40, 8), settings(entry, rounds=1))
    (site,) = task.model.sites
    found = find_quantizers(task, "partial")[site.name]
    problem, rows = task.problem(site), task.statistics[site.name].rows
    x, weight = exact(problem.tensors["input"]), exact(problem.tensors["weight"])  # [1, T, K] and [1, K, O]

    full = activation_twin(x, x.max() / (HALF - 1), lowest)
    scales = FACTORS[entry] * covering(weight)
    losses = [error(x, weight, rows, (full, uniform(weight, scale))).sum() for scale in scales]
    assert float(found["weight"].scale) == pytest.approx(scales[np.argmin(losses)], rel=1e-5)

    rounded = uniform(weight, float(found["weight"].scale))
    scales = FACTORS[entry] * x.max() / (HALF - 1)
    losses = [error(x, weight, rows, (activation_twin(x, scale, lowest), rounded)).sum() for scale in scales]
    assert float(found["input"].high_scale) == pytest.approx(scales[np.argmin(losses)], rel=1e-5)
    assert float(found["input"].low_scale) == pytest.approx(-lowest / HALF, rel=1e-6)
    assert found["input"].boundary == 0


class Attention(nn.Module):
    """A convolution to queries, keys and values, whose attention map is shared by groups of values, and an MLP."""

    def __init__(self):
        super().__init__()
        self.stem, self.qkv = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 16, 1)
        self.mlp = nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Dropout(), nn.Linear(6, 5))

    def forward(self, x):
        q, k, v = self.qkv(F.silu(self.stem(x))).flatten(2).split([4, 4, 8], dim=1)
        weights = (q.transpose(1, 2) @ k).softmax(2).unsqueeze(1).expand(-1, 2, -1, -1)
        mixed = weights.reshape(-1, *weights.shape[2:]) @ v.unflatten(1, (2, 4)).transpose(2, 3).flatten(0, 1)
        return self.mlp(mixed.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2).mean(1))


def test_twins_are_after_softmax_gelu_and_silu_only():
    quantizers = find_quantizers(task_of(nn.Sequential(Attention()), torch.randn(2, 3, 3, 3), settings("ptq4vit", rounds=1)), "partial")
    described = {site: {operand: quantizer.describe() for operand, quantizer in operands.items()} for site, operands in quantizers.items()}
    convolution, linear = {"weight": "per-channel symmetric"}, {"weight": "per-tensor symmetric"}
    assert described == {
        "0.stem": convolution | {"input": "per-tensor symmetric"},
        "0.qkv": convolution | {"input": "twin"},
        "0.matmul1": {"left": "per-tensor symmetric", "right": "per-tensor symmetric"},
        "0.matmul2": {"left": "twin", "right": "per-tensor symmetric"},
        "0.mlp.0": linear | {"input": "per-tensor symmetric"},
        "0.mlp.3": linear | {"input": "twin"},
    }


LAYERS = {
    "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "grouped": lambda: nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),
    "dense": lambda: nn.Conv2d(6, 4, 3),
}


def stacked_losses(layer, x, scales, gradient):
    """The losses [n, O] of weights on grids with ``scales`` [n, O] and a full-range input, from one convolution with stacked weights."""
    rounded_input = torch.from_numpy(uniform(exact(x), covering(exact(x))))
    weight = layer.weight.detach().double()
    candidates = [torch.from_numpy(uniform(exact(weight), row[:, None, None, None])) for row in scales]
    geometry = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    outputs = F.conv2d(rounded_input, torch.cat(candidates), **geometry).unflatten(1, (len(scales), -1))
    reference = F.conv2d(x.double(), weight, **geometry)
    return ((outputs - reference[:, None]) * gradient[:, None]).square().sum((0, 3, 4))


@pytest.mark.parametrize("name", LAYERS)
def test_stacked_search_equals_convolution_with_stacked_weights(name):
    layer, x = LAYERS[name](), torch.randn(2, 6, 7, 7) * torch.arange(1.0, 7.0).view(6, 1, 1)
    task = task_of(nn.Sequential(layer, nn.Flatten()), x, settings("ptq4vit-released", rounds=1, candidates=10))
    (site,) = task.model.sites
    gradient = exact(task.statistics[site.name].rows.gradient)  # [G, B * H * W, O / G], of all positions in order
    side = layer(x).shape[-1]
    gradient = gradient.reshape(layer.groups, 2, side * side, -1).transpose(1, 0, 3, 2).reshape(2, -1, side, side)

    largest = exact(layer.weight).reshape(layer.out_channels, -1)
    scales = np.linspace(0.01, 1.1881, 10)[:, None] * np.abs(largest).max(1) / (HALF - 1)
    order = np.abs(np.linspace(0.01, 1.1881, 10) - 1).argsort(kind="stable")  # that of the candidates
    losses, scales = stacked_losses(layer, x, scales, torch.from_numpy(gradient))[order], scales[order]
    candidates = candidates_of(task, site)
    (family,) = candidates["weight"]
    assert isinstance(family, StackedCandidates) == (layer.groups > 1)
    index = torch.arange(10)[:, None].expand(-1, layer.out_channels)
    start = candidates["input"][0].start()
    torch.testing.assert_close(family.losses(start, index).double(), losses, rtol=1e-4, atol=1e-8)
    shuffled = torch.stack([torch.randperm(10)[:4] for _ in range(layer.out_channels)], dim=1)  # as in a shortlist
    torch.testing.assert_close(family.losses(start, shuffled).double(), losses.gather(0, shuffled), rtol=1e-4, atol=1e-8)
    expected = scales[losses.argmin(0), np.arange(layer.out_channels)]
    np.testing.assert_allclose(find_quantizers(task, "partial")[site.name]["weight"].scale, expected, rtol=1e-5)


def test_convolution_without_groups_is_not_stacked():
    task = task_of(nn.Sequential(LAYERS["dense"](), nn.Flatten()), torch.randn(2, 6, 7, 7), settings("ptq4vit"))
    candidates = candidates_of(task, task.model.sites[0])
    (family,), start = candidates["weight"], candidates["input"][0].start()
    assert type(family) is UniformCandidates
    index = torch.arange(100)[:, None].expand(-1, 4)
    torch.testing.assert_close(StackedCandidates(**vars(family)).losses(start, index), family.losses(start, index))


def test_groups_meet_their_own_inputs_in_the_corrected_search():
    task = task_of(nn.Sequential(LAYERS["depthwise"](), nn.Flatten()), torch.randn(2, 6, 7, 7), settings("ptq4vit"))
    assert type(candidates_of(task, task.model.sites[0])["weight"][0]) is UniformCandidates


class Dead(nn.Module):
    """Layers before a result that does not depend on them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)

    def forward(self, x):
        return self.second(F.silu(self.first(x))).flatten(1) * 0


def test_without_any_gradient_the_full_range_stays():
    task = task_of(nn.Linear(5, 6), torch.randn(4, 5), settings("ptq4vit", scale_min=0.01, scale_max=1.0))
    (site,) = task.model.sites
    ranges, rows = task.statistics[site.name].ranges, task.statistics[site.name].rows
    without = replace(rows, gradient=torch.zeros_like(rows.gradient))
    task = replace(task, statistics={site.name: SiteStatistics(ranges, in_memory(without))})
    scale = find_quantizers(task, "partial")[site.name]["weight"].scale
    assert float(scale) == pytest.approx(covering(exact(task.problem(site).weight)), rel=1e-5)


def test_released_search_without_gradient_takes_smallest_scale():
    model, x = Dead(), torch.randn(2, 3, 20, 20)
    quantizers = find_quantizers(task_of(model, x, CONFIG["ptq4vit-released"]), "partial")
    first, second = quantizers["first"], quantizers["second"]
    assert float(first["input"].scale) == pytest.approx(0.01 * covering(exact(x)), rel=1e-5)
    assert float(second["input"].high_scale) == pytest.approx(0.01 * float(F.silu(model.first(x)).max()) / (HALF - 1), rel=1e-5)
    for layer, found in ((model.first, first), (model.second, second)):
        expected = 0.01 * layer.weight.detach().abs().amax((1, 2, 3)) / (HALF - 1)
        torch.testing.assert_close(found["weight"].scale, expected)


def test_released_entry_has_100_multipliers_and_kl_gradients():
    released = CONFIG["ptq4vit-released"]
    expected = torch.linspace(0.01, 1.2, 101)[:100]
    torch.testing.assert_close(torch.linspace(released.scale_min, released.scale_max, released.candidates), expected)
    assert released.gradients == "kl"
