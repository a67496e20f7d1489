import pytest
import torch
from torch import nn

from qhyvit.analysis.overflow import overflow_errors, overflows, textbook_grid
from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.ranges import observe
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.search.site_problem import SiteProblem

LOW, HIGH = torch.tensor([2.0, -1.0, -5.0]), torch.tensor([3.0, 1.0, -4.0])


def problem(model: nn.Module, example: torch.Tensor, left: torch.Tensor, right: torch.Tensor | None = None) -> SiteProblem:
    """The problem of the only site of ``model``, whose left rows and their ranges are given."""
    (site,) = find_sites(trace(model, example))
    channels = {"linear": -1, "conv": 0, "matmul": 0}[site.kind]
    ranges = {site.operands[0]: observe(left, channels, 1)}
    weight = None if site.kind == "matmul" else next(model.parameters())
    return SiteProblem(site, weight, SiteStatistics(ranges, in_memory(SampledRows(left, torch.ones(1), torch.ones(1), right))))


def test_zero_points_worked_by_hand():
    scale, zero_point = textbook_grid(LOW, HIGH)
    torch.testing.assert_close(scale, torch.tensor([1 / 255, 2 / 255, 1 / 255]))
    torch.testing.assert_close(zero_point, torch.tensor([-2 * 255, 127.5, 5 * 255]), rtol=0, atol=0.5)  # a half may go either way
    assert torch.equal(zero_point, zero_point.round())
    assert overflows(LOW, HIGH).tolist() == [True, False, True]
    assert not overflows(LOW.amin(), HIGH.amax())


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, False),
        (-1.0, 0.0, False),
        (0.1, 255.1, False),  # one step is 1, so the zero point rounds to 0
        (0.6, 255.6, True),
        (-255.6, -0.6, True),
        (0.0, 0.0, False),  # a dead channel
        (3.0, 3.0, True),
    ],
)
def test_range_apart_from_zero_overflows_from_half_a_step_on(low, high, expected):
    assert bool(overflows(torch.tensor(low), torch.tensor(high))) is expected


# Grids whose zero points are clipped to 0 and 255 end at 1 and -1, since scale * 255 = 1: all of [2, 3] becomes 1, all of [-5, -4] -1.
ROWS = torch.tensor([[2.0, -1.0, -5.0], [2.5, 0.0, -4.5], [3.0, 1.0, -4.0]])
CLIPPED = 1 + 1.5**2 + 2**2 + 4**2 + 3.5**2 + 3**2
ENERGY = 2**2 + 2.5**2 + 3**2 + 1 + 1 + 5**2 + 4.5**2 + 4**2


def test_error_of_a_linear_input_is_as_worked_by_hand():
    clipped, widened = overflow_errors(problem(nn.Linear(3, 1, bias=False), torch.zeros(2, 3), ROWS[None]), "input", "per_channel")
    assert clipped == pytest.approx(CLIPPED / ENERGY, rel=1e-4)
    assert 0 < widened < ROWS.numel() * (5 / 255 / 2) ** 2 / ENERGY  # at most half of the widest step off


def test_range_that_contains_zero_loses_nothing():
    clipped, widened = overflow_errors(problem(nn.Linear(3, 1, bias=False), torch.zeros(2, 3), ROWS[None]), "input", "per_tensor")
    assert clipped == widened < 9 * (8 / 255 / 2) ** 2 / ENERGY


def test_groups_and_heads_have_zero_points_of_their_own():
    by_channel = ROWS.T.unsqueeze(2)  # [3 groups or heads, 3 positions, 1]
    depthwise = problem(nn.Conv2d(3, 3, 1, groups=3, bias=False), torch.zeros(2, 3, 4, 4), by_channel)
    assert overflow_errors(depthwise, "input", "per_channel")[0] == pytest.approx(CLIPPED / ENERGY, rel=1e-4)

    class Product(nn.Module):
        def forward(self, x):
            return x @ x.transpose(-2, -1)

    heads = problem(Product(), torch.zeros(2, 3, 4, 4), by_channel.unsqueeze(1), torch.ones(3, 1, 1, 3))
    assert overflow_errors(heads, "left", "per_channel")[0] == pytest.approx(CLIPPED / ENERGY, rel=1e-4)
