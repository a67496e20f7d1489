"""Ranges of other images: what they protect from, and the losses against a loop that makes each batch's grid by hand."""

import pytest
import torch
from small_sites import LAYERS, all_losses, make_candidates, make_problem

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.ranges import observe
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.search.alternating import alternate
from qhyvit.search.objectives import CHUNK
from qhyvit.search.site_problem import SiteProblem

FULL = torch.tensor([1.0])
UNITS = ("per_tensor", "per_channel")


def linear_problem(x):
    """A linear layer on rows ``x`` [batches, rows, channels], each output as important as any other."""
    site, weight = make_problem("linear")[0].site, torch.randn(16, x.shape[-1])
    rows = x.flatten(0, 1)[None]
    found = None
    for batch in x:
        found = observe(batch, 1, len(x), found)
    drawn = SampledRows(rows, torch.ones(1, rows.shape[1], 16), torch.ones(1, rows.shape[1], 1))
    return SiteProblem(site, weight, SiteStatistics({"input": found}, in_memory(drawn)))


def granularity_of(problem, *, cross_validated):
    """Return the granularity that the search chooses for the input at 6 bits."""
    families = {
        "input": [make_candidates(problem, "input", 6, unit, "asymmetric", FULL, cross_validated=cross_validated) for unit in UNITS],
        "weight": [make_candidates(problem, "weight", 8, "per_channel", "symmetric", FULL)],
    }
    return "per_tensor" if alternate(families, 1)["input"].axis is None else "per_channel"


def test_channels_that_other_images_leave_are_not_told_apart():
    amplitude = torch.rand(8, 1, 48) ** 4 * 9  # each batch has channels that are loud in it alone
    problem = linear_problem(torch.rand(8, 64, 48) * amplitude)
    assert granularity_of(problem, cross_validated=False) == "per_channel"
    assert granularity_of(problem, cross_validated=True) == "per_tensor"


def test_channels_that_differ_in_all_images_are_told_apart():
    problem = linear_problem(torch.rand(8, 64, 48) * torch.rand(48) ** 4 * 9)
    assert granularity_of(problem, cross_validated=True) == "per_channel"


def test_a_silent_channel_has_the_range_of_the_tensor():
    x = torch.rand(4, 32, 6) - 0.25
    x[..., 2] = 0
    problem = linear_problem(x)
    plain, protected = (
        make_candidates(problem, "input", 8, "per_channel", "asymmetric", FULL, cross_validated=choice).start() for choice in (False, True)
    )
    heard = torch.full((1, 6), 0.5)
    assert plain.fake_quantize(heard)[0, 2] == pytest.approx(0, abs=1e-3)
    torch.testing.assert_close(protected.fake_quantize(heard), heard, atol=0.003, rtol=0)
    assert torch.equal(plain.scale[[0, 1, 3, 4, 5]], protected.scale[[0, 1, 3, 4, 5]])


def test_a_channel_that_is_silent_in_all_other_batches_is_covered_as_far_as_the_tensor_and_its_own_values_reach():
    x = torch.rand(4, 32, 6) - 0.25
    x[1:, :, 2] = 0
    problem = linear_problem(x)
    scale, _ = make_candidates(problem, "input", 8, "per_channel", "asymmetric", FULL, cross_validated=True)._grids
    own, others = x[0, :, 2], x[1:]
    width = min(own.max(), others.max()) - max(own.min(), others.min())
    torch.testing.assert_close(scale[0, 0, 2], width / 255)


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [3, 1]])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", [*LAYERS, "matmul"])
@pytest.mark.parametrize(("chunk", "count"), [(1, 1), (CHUNK, 1), (CHUNK, 30)])  # the smallest parts; all at once; more than rows a batch
def test_cross_validated_loss_sums_batches_on_grids_made_by_hand(name, unit, sizes, chunk, count, monkeypatch):
    monkeypatch.setattr("qhyvit.search.objectives.CHUNK", chunk)
    problem, x = make_problem(name, sizes)
    operand, other = problem.site.operands
    factors = torch.tensor([0.9]).repeat(count)
    candidates = make_candidates(problem, operand, 4, unit, "asymmetric", factors, cross_validated=True)
    given = make_candidates(problem, other, 4, "per_tensor", "symmetric", FULL).start()
    axis = problem.site.axis(operand)
    expected = 0.0
    for number, batch in enumerate(torch.arange(4).split(sizes)):
        (lowest, highest), (low, high) = (
            channel_range(images, axis, unit) for images in (x[[image for image in range(4) if image not in batch]], x)
        )
        low, high = torch.maximum(0.9 * low, lowest), torch.minimum(0.9 * high, highest)
        scale = (high.clamp(min=0) - low.clamp(max=0)) / 15
        zero = (-low.clamp(max=0) / scale).round()
        shape = [-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]
        scale, zero = scale.view(shape), zero.view(shape)
        rounded = ((x[batch].double() / scale).round() + zero).clamp(0, 15).sub(zero).mul(scale).float()
        expected += error_of(name, x[batch], rounded, given, gradients(problem, sizes, number))
    losses = all_losses(candidates, given).view(count, -1).sum(1)
    assert losses.tolist() == pytest.approx([expected] * count, rel=1e-4)


def channel_range(images, axis, unit):
    """The extremes of the channels [C], all those of the tensor where they are not told apart."""
    channels = images.movedim(axis, 0).flatten(1).double()
    low, high = channels.amin(1), channels.amax(1)
    return (low, high) if unit == "per_channel" else (low.amin().expand(low.shape), high.amax().expand(high.shape))


def gradients(problem, sizes, number):
    """Return the gradients of the images of one batch, in the order of the site's rows, without the padding of smaller batches."""
    by_batch = problem.gradient.unflatten(1, (len(sizes), max(sizes), -1))[:, number]
    assert not by_batch[:, sizes[number] :].any()
    return by_batch[:, : sizes[number]].flatten(1, 2)


def error_of(name, x, rounded, given, gradient):
    """The weighted squared error of the real operator on some images, whose second operand is rounded too."""
    if name == "matmul":
        exact, found = (left @ right for left, right in ((x, x.mT * 2 + 1), (rounded, given.fake_quantize(x.mT * 2 + 1))))
        return float(((found - exact).transpose(0, 1) * gradient).square().sum())
    layer = LAYERS[name]
    if name == "linear":
        exact, found = x @ layer.weight.T, rounded @ given.fake_quantize(layer.weight).T
        return float(((found - exact).flatten(0, -2) * gradient[0]).square().sum())
    weight = given.fake_quantize(layer.weight)
    options = (None, layer.stride, layer.padding, layer.dilation, layer.groups)
    exact, found = torch.conv2d(x, layer.weight, *options), torch.conv2d(rounded, weight, *options)
    by_group = (found - exact).unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
    return float((by_group * gradient).square().sum())
