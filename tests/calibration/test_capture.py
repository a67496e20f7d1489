import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.calibration.capture import capture
from qhyvit.calibration.importance_sampling import sample_rows
from qhyvit.calibration.losses import fisher_loss, kl_loss
from qhyvit.calibration.output_samples import OUTPUT_POSITIONS, OutputCollector
from qhyvit.calibration.recorder import Recorder, require_finite
from qhyvit.calibration.serialization import load_output_statistics, load_statistics, save_statistics
from qhyvit.errors import InputError
from qhyvit.graph.output_sites import find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.base import NO_QUANTIZERS
from qhyvit.quantizers.uniform import UniformQuantizer


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(F.silu(self.conv(x)).mean((2, 3)))


@pytest.fixture
def traced():
    model = Network()
    graph_module = trace(model, torch.randn(2, 3, 8, 8))
    return model.requires_grad_(False), graph_module, find_sites(graph_module)


def test_fisher_gradients_are_of_cross_entropy_to_sampled_labels(traced):
    model, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    statistics = capture(graph_module, sites, [x], None, seed=3)
    labels = torch.multinomial(model(x).softmax(1), 1, generator=torch.Generator().manual_seed(3))[:, 0]
    expected = model(x).softmax(1) - F.one_hot(labels, 5)  # the gradient of the cross-entropy in closed form
    torch.testing.assert_close(statistics["head"].rows.gradient[0], expected)


class Gated(nn.Module):
    """Two sites that no gradient reaches, one detached and one of which only the largest channel counts, or all of them."""

    def __init__(self, *, all_detached):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.choice, self.head = nn.Linear(3, 4), nn.Linear(4, 5)
        self.all_detached = all_detached

    def forward(self, x):
        chosen = F.one_hot(self.choice(x.mean((2, 3))).argmax(1), 4).to(x.dtype)
        logits = self.head((self.conv(x) * self.gate(x).detach().sigmoid()).mean((2, 3)) * chosen)
        return logits.detach() if self.all_detached else logits


@pytest.mark.parametrize(
    ("all_detached", "unreached"), [(False, {"gate", "choice"}), (True, {"conv", "gate", "choice", "head"})], ids=["some", "all"]
)
@pytest.mark.parametrize("inserted", [False, True], ids=["fp32", "quantized"])
def test_errors_count_alike_at_sites_that_no_gradient_reaches(all_detached, unreached, inserted):
    graph_module = trace(Gated(all_detached=all_detached), torch.randn(2, 3, 8, 8))
    sites, grid = find_sites(graph_module), UniformQuantizer(8, "symmetric", torch.tensor(0.1), torch.tensor(0.0))
    quantizers = {site.name: {"input": grid} for site in sites} if inserted else NO_QUANTIZERS
    statistics = capture(graph_module, sites, list(torch.randn(6, 3, 8, 8).split(4)), None, 0, quantizers=quantizers)
    constant = {name for name, found in statistics.items() if bool((found.rows.gradient == 1).all())}
    assert constant == unreached
    assert statistics["choice"].rows.gradient.shape == (1, 6, 4)


def test_fisher_gradients_are_signal_where_kl_is_noise(traced):
    _, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    fisher, kl = (
        float(capture(graph_module, sites, [x], None, 0, loss)["conv"].rows.gradient.square().mean().sqrt())
        for loss in (fisher_loss, kl_loss)
    )
    assert fisher > 1e-4
    assert kl < 1e-5 * fisher


def test_batch_is_freed_before_the_next_one_runs(traced):
    _, graph_module, sites = traced
    grid = UniformQuantizer(3, "symmetric", torch.tensor(0.4), torch.tensor(0.0))
    logits: list[weakref.ref] = []

    def loss(rounded, exact, generator):
        assert not any(earlier() is not None for earlier in logits)
        logits.extend(map(weakref.ref, (rounded, exact)))
        return fisher_loss(rounded, exact, generator)

    capture(graph_module, sites, list(torch.randn(6, 3, 8, 8).split(2)), None, 0, loss, {"conv": {"input": grid}})
    assert len(logits) == 6


@pytest.mark.parametrize("inserted", [False, True], ids=["fp32", "quantized"])
def test_gradients_and_operands_are_freed_once_their_rows_are_sampled(traced, monkeypatch, inserted):
    _, graph_module, sites = traced
    grid = UniformQuantizer(3, "symmetric", torch.tensor(0.4), torch.tensor(0.0))
    seen: list[weakref.ref] = []

    def sample(site, operands, gradient, *others):
        assert not any(earlier() is not None for earlier in seen)
        seen.extend(map(weakref.ref, (operands[0], gradient)))
        return sample_rows(site, operands, gradient, *others)

    monkeypatch.setattr("qhyvit.calibration.capture.sample_rows", sample)
    capture(graph_module, sites, [torch.randn(6, 3, 8, 8)], None, 0, quantizers={"conv": {"input": grid}} if inserted else NO_QUANTIZERS)
    assert len(seen) == 4


def test_gradients_at_quantized_network_with_fp32_values(traced):
    model, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    grid = UniformQuantizer(3, "symmetric", torch.tensor(0.4), torch.tensor(0.0))
    found = capture(graph_module, sites, [x], None, 0, kl_loss, {"conv": {"input": grid}})["head"].rows
    exact, rounded = (F.silu(model.conv(images)).mean((2, 3)) for images in (x, grid.fake_quantize(x)))
    assert torch.equal(found.left[0], exact)
    expected = model.head(rounded).softmax(1) - model.head(exact).softmax(1)  # of the KL divergence in closed form
    torch.testing.assert_close(found.gradient[0], expected)


def test_images_of_a_smaller_last_batch_weigh_as_all_others(traced):
    _, graph_module, sites = traced
    x = torch.randn(5, 3, 8, 8)
    grid = UniformQuantizer(3, "symmetric", torch.tensor(0.4), torch.tensor(0.0))
    one, several = (
        capture(graph_module, sites, batches, None, 0, kl_loss, {"conv": {"input": grid}})["head"].rows.gradient
        for batches in ([x], [*x.split(4)])
    )
    torch.testing.assert_close(several, one)


def test_values_of_the_quantized_network_at_watched_sites_alone(traced):
    model, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    grid = UniformQuantizer(3, "symmetric", torch.tensor(0.4), torch.tensor(0.0))
    rounding = {"conv": {"input": grid}, "head": {"weight": grid}}
    found = capture(graph_module, sites, [x], None, 0, kl_loss, rounding, watched=sites[1:], values="quantized")
    pooled = F.silu(model.conv(grid.fake_quantize(x))).mean((2, 3))
    assert list(found) == ["head"]
    assert torch.equal(found["head"].rows.left[0], pooled)
    logits = F.linear(pooled, grid.fake_quantize(model.head.weight), model.head.bias)
    torch.testing.assert_close(found["head"].rows.gradient[0], logits.softmax(1) - model(x).softmax(1))


def test_gradients_pass_fake_quantization_unchanged(traced):
    model, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    grid = UniformQuantizer(3, "symmetric", torch.tensor(0.1), torch.tensor(0.0))
    found = capture(graph_module, sites, [x], None, 0, kl_loss, {"head": {"input": grid}})["conv"].rows.gradient
    output = model.conv(x).requires_grad_()
    pooled = F.silu(output).mean((2, 3))
    error = (model.head(grid.fake_quantize(pooled.detach())).softmax(1) - model.head(pooled).softmax(1)).detach()
    pooled.backward(error @ model.head.weight)
    torch.testing.assert_close(found[0], output.grad.permute(0, 2, 3, 1).flatten(0, 2))


def test_batches_together_see_what_each_sees(traced):
    _, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    found = capture(graph_module, sites, x.split(2), None, seed=0)["conv"]
    assert torch.equal(found.ranges["input"].high, x.amax((0, 2, 3)))
    assert found.rows.left.shape == (1, 6 * 36, 27)


@pytest.mark.parametrize(("values", "finite"), [([3e38, 3e38], True), ([float("inf"), -float("inf")], False), ([float("nan"), 0.0], False)])
def test_values_are_finite_though_their_sum_is_not(values, finite):
    with nullcontext() if finite else pytest.raises(InputError, match="site conv"):
        require_finite("conv", torch.tensor(values))


def test_nan_is_refused_with_the_name_of_its_first_site(traced):
    _, graph_module, sites = traced
    x = torch.randn(2, 3, 8, 8)
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="site conv: its output or gradient is not finite"):
        capture(graph_module, sites, [x], None, seed=0)


def test_statistics_survive_the_file_and_the_bytes_repeat(traced, tmp_path):
    _, graph_module, sites = traced
    statistics = capture(graph_module, sites, [torch.randn(2, 3, 8, 8)], 5, seed=0)
    for name in ("one", "two"):
        save_statistics(tmp_path / name, statistics, {"seed": 0})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded, record = load_statistics(tmp_path / "one")
    assert record == {"seed": 0}
    for name, expected in statistics.items():
        torch.testing.assert_close(vars(loaded[name].rows), vars(expected.rows), rtol=0, atol=0)
        assert loaded[name].ranges.keys() == expected.ranges.keys()
        for operand, of_operand in expected.ranges.items():
            torch.testing.assert_close(vars(loaded[name].ranges[operand]), vars(of_operand), rtol=0, atol=0)


class Residual(nn.Module):
    """A residual addition, and a softmax that a product gates."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def tensors(self, x):
        y = self.first(x)
        total = y + self.second(y)
        return total, torch.cos(total).flatten(2).softmax(2)

    def forward(self, x):
        total, weights = self.tensors(x)
        return self.head((total.flatten(2) * weights).sum(2))


def tensors_of(graph_module, batches, seed=0):
    """Return the statistics of the output sites."""
    collector = OutputCollector(find_output_sites(graph_module), len(batches), seed)
    capture(graph_module, find_sites(graph_module), batches, 5, seed, collectors=[collector])
    return collector.statistics()


@pytest.fixture
def residual():
    model = Residual()
    graph_module = trace(model, torch.randn(2, 3, 8, 8))
    return model.requires_grad_(False), graph_module


def test_output_ranges_are_those_of_what_the_model_computes(residual):
    model, graph_module = residual
    x = torch.randn(6, 3, 8, 8)
    statistics = tensors_of(graph_module, x.split(4))
    total, weights = model.tensors(x)
    add, softmax = statistics["add"].range, statistics["softmax"].range
    torch.testing.assert_close((add.low, add.high), (total.amin((0, 2, 3)), total.amax((0, 2, 3))))
    torch.testing.assert_close((softmax.low, softmax.high), (weights.amin()[None], weights.amax()[None]))
    assert (add.count, softmax.count) == (total.numel(), weights.numel())


def test_output_samples_hold_all_positions_of_a_small_tensor(residual):
    model, graph_module = residual
    x = torch.randn(6, 3, 8, 8)
    statistics = tensors_of(graph_module, x.split(2))
    total, weights = model.tensors(x)
    for sample, expected in (
        (statistics["add"].sample, total.movedim(1, 3).flatten(0, 2)),
        (statistics["softmax"].sample, weights.flatten(0, 1)),
    ):
        torch.testing.assert_close(sample[sample[:, 0].argsort()], expected[expected[:, 0].argsort()])


def test_output_samples_are_distinct_positions_of_all_batches(residual):
    model, graph_module = residual
    x = torch.randn(12, 3, 32, 32)
    x[:4] += 100
    samples = [tensors_of(graph_module, x.split(4), seed)["add"].sample for seed in (0, 0, 1)]
    assert samples[0].shape == (OUTPUT_POSITIONS, 4)
    assert len(samples[0].unique(dim=0)) == OUTPUT_POSITIONS
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])
    positions = model.tensors(x)[0].movedim(1, 3).flatten(0, 2)
    distances, nearest = torch.cdist(samples[0], positions, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert float(distances.max()) < 1e-3
    assert (nearest // (4 * 32 * 32)).bincount().tolist() == [171, 171, 170]


@pytest.mark.parametrize(("batches", "least"), [(8, 64), (41, 12), (300, 1)])
def test_every_batch_has_a_share_of_the_output_samples(residual, batches, least):
    _, graph_module = residual
    site = next(site for site in find_output_sites(graph_module) if site.name == "add")
    collector = OutputCollector([site], batches, seed=0)
    for batch in range(batches):
        values = SimpleNamespace(values={site.node: torch.full((2, 4, 16, 16), float(batch))})
        collector.add(values, values)
    sample = collector.statistics()["add"].sample
    assert len(sample) == OUTPUT_POSITIONS
    assert int(sample[:, 0].long().bincount(minlength=batches).min()) == least


def test_smaller_last_batch_has_a_smaller_share_of_the_output_samples(residual):
    _, graph_module = residual
    site = next(site for site in find_output_sites(graph_module) if site.name == "add")
    collector = OutputCollector([site], 4, seed=0)
    for number, images in enumerate((4, 4, 4, 1)):
        values = SimpleNamespace(values={site.node: torch.full((images, 4, 16, 16), float(number))})
        collector.add(values, values)
    assert collector.statistics()["add"].sample[:, 0].long().bincount().tolist() == [128, 128, 128, 32]


def test_a_tensor_that_is_not_finite_is_refused_with_its_name(residual):
    _, graph_module = residual
    collector = OutputCollector(find_output_sites(graph_module), 1, seed=0)
    recorder = Recorder(graph_module, [], NO_QUANTIZERS, collector.nodes, [])
    recorder.run(torch.full((2, 3, 8, 8), float("inf")))
    with pytest.raises(InputError, match="site add:"):
        collector.add(recorder, recorder)


def test_output_statistics_survive_the_file_next_to_the_sites(residual, tmp_path):
    _, graph_module = residual
    x = torch.randn(2, 3, 8, 8)
    statistics = capture(graph_module, find_sites(graph_module), [x], 5, seed=0)
    output_statistics = tensors_of(graph_module, [x])
    save_statistics(tmp_path / "without", statistics, {"seed": 0})
    save_statistics(tmp_path / "none", statistics, {"seed": 0}, {})
    save_statistics(tmp_path / "with", statistics, {"seed": 0}, output_statistics)
    assert (tmp_path / "without").read_bytes() == (tmp_path / "none").read_bytes()
    assert load_output_statistics(tmp_path / "without") == {}
    loaded = load_output_statistics(tmp_path / "with")
    assert list(loaded) == ["add", "softmax"]
    for name, seen in loaded.items():
        assert torch.equal(seen.sample, output_statistics[name].sample)
        assert seen.range.count == output_statistics[name].range.count
        assert seen.range.percentile(99.95) == output_statistics[name].range.percentile(99.95)
    sites, record = load_statistics(tmp_path / "with")
    assert record == {"seed": 0}
    assert list(sites) == list(load_statistics(tmp_path / "without")[0])
    assert torch.equal(sites["first"].rows.left, statistics["first"].rows.left)
