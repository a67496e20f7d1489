"""Parts of the sources, as the benchmark of differences has them, against loops and closed forms."""

from math import exp, floor, log, log2
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from benchmarks.differences import sources
from benchmarks.differences.__main__ import _row
from benchmarks.differences.network import Measured
from benchmarks.differences.table import DIFFERENCES
from qhyvit.graph.operators import aten
from qhyvit.quantizers.logarithmic import LogQuantizer


def test_reciprocals_are_rounded_to_the_nearest_power_of_two():
    x = torch.rand(200, generator=torch.Generator().manual_seed(0)).clamp(min=0.01)

    def nearest(value):
        reciprocal = round(1 / value)
        below = floor(log2(reciprocal))
        middle = (2**below + 2 ** (below + 1)) / 2
        return min(below + (reciprocal >= middle), 2**4)

    found = sources.nearest_power(LogQuantizer(4, 1, torch.tensor(1.0)), x)
    assert found.tolist() == [nearest(value) for value in x.tolist()]


@pytest.mark.parametrize(("approximation", "worst"), [(sources.integer_exponential, 0.003), (sources.linear_exponential, 0.062)])
def test_exponentials_are_as_close_as_their_polynomials(approximation, worst):
    x = torch.linspace(-8, 0, 5001, dtype=torch.float64)
    errors = (approximation(x) - x.exp()).abs() / 2 ** torch.ceil(x / log(2))  # relative to the upper end of each octave
    assert worst / 4 < errors.max() < worst


def test_chords_meet_the_exponential_at_the_ends_of_octaves():
    x = -log(2) * torch.arange(5, dtype=torch.float64)
    assert torch.allclose(sources.linear_exponential(x), torch.tensor([exp(value) for value in x.tolist()], dtype=torch.float64))


def test_range_that_does_not_contain_0_is_kept():
    scale, zero_point = sources.range_as_it_is(torch.tensor(2.0), torch.tensor(5.0), 4, "asymmetric")
    assert float(scale) == pytest.approx(3 / 15)
    assert float(zero_point) == -10  # off the grid of 0 to 15
    assert float((0 - zero_point) * scale) == pytest.approx(2)
    assert float((15 - zero_point) * scale) == pytest.approx(5)


def test_half_a_step_more_clips_the_largest_value():
    scale, _ = sources.half_step_wider(torch.tensor(-1.0), torch.tensor(3.0), 8, "symmetric")
    assert float(scale) == pytest.approx(3 / 127.5)


def test_factors_of_an_integer_norm_have_eight_significant_bits():
    x, weight, bias = torch.randn(2, 5, 16), torch.rand(16) + 0.5, torch.randn(16)
    exact = F.layer_norm(x, [16], weight, bias)
    found = sources.integer_norm(aten.layer_norm.default, x, [16], weight, bias, 1e-5)
    relative = ((found - bias) / (exact - bias)).double()
    assert bool((relative <= 1 + 1e-5).all())  # cut, not rounded
    assert bool((relative >= 1 - 2**-7 - 1e-5).all())
    assert not torch.allclose(found, exact, atol=1e-6)


def test_differences_have_names_that_a_page_can_quote():
    names = [(difference.method, difference.name) for difference in DIFFERENCES]
    assert len(set(names)) == len(names)
    assert not any(" " in name for _, name in names)


def test_row_has_the_number_of_images_and_the_losses_of_both_forms():
    network = SimpleNamespace(model="net", fp32_top1=90.0, change=lambda before, after: (before.top1 - after.top1, 0.0, 1.0))
    method, source = (Measured(torch.arange(40) < hits, kl) for hits, kl in ((30, 0.1), (32, 0.2)))
    row = _row(network, DIFFERENCES[0], method, source)
    assert (row["images"], row["drop_method"], row["drop_source"], row["cost"]) == (40, 15, 10, 5)
    assert (row["kl_method"], row["kl_source"]) == (0.1, 0.2)
