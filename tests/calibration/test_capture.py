import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.calibration.capture import capture
from qhyvit.calibration.store import load_statistics, save_statistics
from qhyvit.errors import InputError
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


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


def test_gradients_are_those_of_the_cross_entropy_to_sampled_labels(traced):
    model, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    statistics = capture(graph_module, sites, [x], None, seed=3)
    labels = torch.multinomial(model(x).softmax(1), 1, generator=torch.Generator().manual_seed(3))[:, 0]
    expected = model(x).softmax(1) - F.one_hot(labels, 5)  # the gradient of the cross-entropy in closed form
    torch.testing.assert_close(statistics["head"].rows.gradient[0], expected)


def test_fisher_gradients_are_signal_where_those_of_the_kl_divergence_are_rounding_noise(traced):
    model, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    fisher = capture(graph_module, sites, [x], None, seed=0)["conv"].rows.gradient.square().mean().sqrt()
    output = model.conv(x).requires_grad_()
    logits = model.head(F.silu(output).mean((2, 3)))
    F.kl_div(logits.log_softmax(1), model(x).log_softmax(1), reduction="sum", log_target=True).backward()
    kl = output.grad.square().mean().sqrt()
    assert float(fisher) > 1e-4
    assert float(kl) < 1e-5 * float(fisher)


def test_batches_together_see_what_each_sees(traced):
    _, graph_module, sites = traced
    x = torch.randn(6, 3, 8, 8)
    found = capture(graph_module, sites, x.split(2), None, seed=0)["conv"]
    assert torch.equal(found.ranges["input"].high, x.amax((0, 2, 3)))
    assert found.rows.left.shape == (1, 6 * 36, 27)


def test_nan_is_refused_with_the_name_of_the_first_site_that_shows_it(traced):
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
    assert torch.equal(loaded["conv"].rows.left, statistics["conv"].rows.left)
    assert loaded["conv"].rows.right is None
    assert loaded["head"].ranges["input"].percentile(100) == statistics["head"].ranges["input"].percentile(100)
