"""The released code's method against a hand-written network that rounds the bridge layers, and loops in float64 over all candidates."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from conftest import make_task
from torch import nn

from qhyvit.config.methods import QhyvitReleasedMethod
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods import qhyvit_released as released

BITS = 3
LARGEST = 2 ** (BITS - 1) - 1
FACTORS = torch.linspace(0.1, 1.2, 12)
SEGMENTS = [["stem", "depthwise", "conv"], ["project"], ["matmul1", "matmul2", "mix", "head"]]  # the bridge is conv and project
SYMMETRIC = {granularity: {"granularity": [granularity], "scheme": ["symmetric"]} for granularity in ("per_tensor", "per_channel")}


class Hybrid(nn.Module):
    """A map that becomes tokens, an attention of two heads among them, and a map again."""

    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.conv = nn.Conv2d(4, 8, 1)
        self.project = nn.Linear(8, 6)
        self.mix = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.head = nn.Linear(6, classes)

    def forward(self, x):
        tokens = self.project(self.conv(self.depthwise(self.stem(x).relu())).flatten(2).transpose(1, 2))
        return self.head(self.mix(attend(tokens)).mean((2, 3)))


def attend(tokens):
    heads = tokens.unflatten(2, (2, 3)).transpose(1, 2)
    scale = torch.tensor([0.3, 1.0, 3.0])
    mixed = (6 * heads @ heads.transpose(-2, -1)).softmax(-1) @ heads
    return ((mixed + heads) * scale).transpose(-2, -1).flatten(1, 2).unflatten(2, (4, 4))


class Run:
    """A run of the case: the quantizers, and the arguments and the result of each calibration."""

    def __init__(self, monkeypatch, rounds=2, classes=5):
        torch.manual_seed(0)
        self.model, self.batches = Hybrid(classes), torch.randn(6, 3, 8, 8).split(4)
        self.roundings, self.statistics = [], []

        def spy(*arguments, watched, **options):
            self.roundings.append(list(arguments[-1]))
            self.statistics.append(genuine(*arguments, watched=watched, **options))
            return self.statistics[-1]

        genuine = released.capture
        monkeypatch.setattr(released, "capture", spy)
        task = make_task(trace(self.model, self.batches[0]), self.batches, settings(rounds), weight_bits=BITS, activation_bits=BITS)
        self.quantizers = find_quantizers(task, "partial")
        self.found = {name: seen for statistics in self.statistics for name, seen in statistics.items()}
        self.model.requires_grad_(False)

    def layer(self, name, x, is_rounded):
        layer = getattr(self.model, name)
        weight = layer.weight
        if is_rounded:
            x, weight = (fake(tensor, self.quantizers[name][operand]) for tensor, operand in ((x, "input"), (weight, "weight")))
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)

    def inputs_and_gradients(self, name, bridge):
        """Of a layer, in the network with the layers ``bridge`` rounded, written out; batch by batch."""
        inputs, gradients = [], []
        for images in self.batches:
            outputs = {}

            def run(layer, x, images=images, outputs=outputs):
                if layer == name:
                    inputs.append(x)
                output = outputs[layer] = self.layer(layer, x, layer in bridge)
                return output.requires_grad_() if layer == name else output

            tokens = run("project", run("conv", run("depthwise", run("stem", images).relu())).flatten(2).transpose(1, 2))
            logits = run("head", run("mix", attend(tokens)).mean((2, 3)))
            reference = self.model(images).softmax(1)
            divergence = (reference * (reference.log() - logits.log_softmax(1))).sum()
            gradients.append(torch.autograd.grad(divergence, outputs[name])[0])
        return torch.cat(inputs), torch.cat(gradients)


def settings(rounds):
    return QhyvitReleasedMethod(
        algorithm="qhyvit_released",
        weights=SYMMETRIC["per_channel"],
        linear_weights=SYMMETRIC["per_tensor"],
        activations=SYMMETRIC["per_tensor"],
        grouped_activations=SYMMETRIC["per_channel"],
        matmuls=SYMMETRIC["per_channel"],
        objective="fisher",
        scale_min=float(FACTORS[0]),
        scale_max=float(FACTORS[-1]),
        candidates=len(FACTORS),
        rounds=rounds,
    )


def fake(x, quantizer):
    return on_grid(x, quantizer.scale, quantizer.axis)


def on_grid(x, scale, axis):
    if axis is not None:
        shape = [1] * x.ndim
        shape[axis] = -1
        scale = scale.view(shape)
    return torch.clamp(torch.round(x / scale), -LARGEST - 1, LARGEST) * scale


@pytest.fixture
def run(monkeypatch):
    return Run(monkeypatch)


def test_sites_between_bridge_sites_share_a_calibration(run):
    assert [list(statistics) for statistics in run.statistics] == SEGMENTS
    assert run.roundings == [[], ["conv"], ["conv", "project"]]
    assert list(run.quantizers) == [name for segment in SEGMENTS for name in segment]


def test_gradients_are_noise_up_to_the_first_bridge_site_only(run):
    root_mean_squares = [[float(run.found[name].rows.gradient.square().mean().sqrt()) for name in segment] for segment in SEGMENTS]
    assert max(root_mean_squares[0]) < 1e-2 * min(root_mean_squares[1] + root_mean_squares[2])


@pytest.mark.parametrize(("name", "bridge"), [("project", ["conv"]), ("mix", ["conv", "project"]), ("head", ["conv", "project"])])
def test_statistics_are_with_earlier_bridge_sites_quantized(run, name, bridge):
    inputs, gradients = run.inputs_and_gradients(name, bridge)
    rows, seen = run.found[name].rows, run.found[name].ranges["input"]
    noise = 1e-4 * float(gradients.abs().max())
    if name == "mix":
        patches = F.unfold(inputs, 3, padding=1).unflatten(1, (6, 9)).permute(1, 0, 3, 2).flatten(1, 2)
        torch.testing.assert_close(rows.left, patches)
        torch.testing.assert_close(rows.gradient, gradients.flatten(2).transpose(0, 1).flatten(1)[..., None], rtol=0, atol=noise)
        torch.testing.assert_close((seen.low, seen.high), (inputs.amin((0, 2, 3)), inputs.amax((0, 2, 3))))
    else:
        torch.testing.assert_close(rows.left[0], inputs.flatten(0, -2))
        torch.testing.assert_close(rows.gradient[0], gradients.flatten(0, -2), rtol=0, atol=noise)
    exact, _ = run.inputs_and_gradients(name, [])
    assert float((exact - inputs).abs().max()) > 0.01


def test_granularity_is_by_the_rule(run):
    units = {name: [quantizer.scale.numel() for quantizer in operands.values()] for name, operands in run.quantizers.items()}
    assert units == {
        "stem": [1, 4],
        "depthwise": [4, 4],
        "conv": [1, 8],
        "project": [1, 1],
        "matmul1": [2, 2],
        "matmul2": [2, 2],
        "mix": [6, 6],
        "head": [1, 1],
    }
    assert all(list(operands) == ["left", "right"] for name, operands in run.quantizers.items() if "matmul" in name)


@pytest.mark.parametrize(("name", "bridge"), [("depthwise", []), ("mix", ["conv", "project"])])
def test_grouped_channels_share_one_multiplier_of_their_ranges(run, name, bridge):
    inputs, _ = run.inputs_and_gradients(name, bridge)
    full = inputs.abs().amax((0, 2, 3)) / LARGEST
    factors = run.quantizers[name]["input"].scale / full
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))
    assert float((FACTORS - factors[0]).abs().min()) < 1e-4
    assert all(not torch.isclose(one, other) for one, other in pairwise(full))


def full_losses(run, name, bridge, axes):
    """The loss of each output channel of a layer as a function of the scales of both operands, in float64; and the full scales of both."""
    inputs, gradients = run.inputs_and_gradients(name, bridge)
    layer = getattr(run.model, name)
    inputs, gradients, weight = inputs.double(), gradients.double(), layer.weight.double()

    def product(x, w):
        return F.linear(x, w) if isinstance(layer, nn.Linear) else F.conv2d(x, w, None, 1, 1, 1, layer.groups)

    def losses(of_input, of_weight):
        error = product(on_grid(inputs, of_input, axes[0]), on_grid(weight, of_weight, axes[1])) - product(inputs, weight)
        return (gradients * error).square().transpose(0, 1).flatten(1).sum(1)

    def largest(x, axis):
        return x.abs().amax() if axis is None else x.abs().movedim(axis, 0).flatten(1).amax(1)

    return losses, largest(inputs, axes[0]) / LARGEST, largest(weight, axes[1]) / LARGEST


@pytest.mark.parametrize("name", ["mix", "head"])
def test_the_search_is_that_of_a_loop_over_all_candidates(run, name):
    grouped = name == "mix"
    losses, full_input, full_weight = full_losses(run, name, ["conv", "project"], (1, 0) if grouped else (None, None))
    factors = FACTORS.double()
    of_input, of_weight = full_input, full_weight
    for _ in range(2):
        table = torch.stack([losses(of_input, factor * full_weight) for factor in factors])
        of_weight = (factors[table.argmin(0)] if grouped else factors[table.sum(1).argmin()]) * full_weight
        table = torch.stack([losses(factor * full_input, of_weight) for factor in factors])
        of_input = factors[table.sum(1).argmin()] * full_input
    if grouped:
        assert len(table.argmin(0).unique()) > 1  # channels of their own would have chosen otherwise
    found = run.quantizers[name]
    torch.testing.assert_close((found["input"].scale, found["weight"].scale), (of_input.float(), of_weight.float()))


def test_left_operand_is_searched_before_right_one(monkeypatch):
    run = Run(monkeypatch, rounds=1)
    rows = run.found["matmul2"].rows
    left, right, gradient = (tensor.double() for tensor in (rows.left, rows.right, rows.gradient))
    full_left, full_right = (operand.abs().amax((1, 2, 3)) / LARGEST for operand in (left, right))

    def losses(of_left, of_right):
        error = on_grid(left, of_left, 0) @ on_grid(right, of_right, 0) - left @ right
        return (gradient * error).square().sum((1, 2, 3))

    factors = FACTORS.double()
    of_left = factors[torch.stack([losses(factor * full_left, full_right) for factor in factors]).argmin(0)] * full_left
    of_right = factors[torch.stack([losses(of_left, factor * full_right) for factor in factors]).argmin(0)] * full_right
    found = run.quantizers["matmul2"]
    torch.testing.assert_close((found["left"].scale, found["right"].scale), (of_left.float(), of_right.float()))


def test_without_any_gradient_the_first_candidate_is_taken(monkeypatch):
    run = Run(monkeypatch, classes=1)
    assert not run.found["stem"].rows.gradient.any()
    full = torch.cat(run.batches).abs().max() / LARGEST
    torch.testing.assert_close(run.quantizers["stem"]["input"].scale, FACTORS[0] * full)
