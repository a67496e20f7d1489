"""Search of a scale multiplier for each channel of an operand of a bridge block, by the error at the block's output.

At the last layer of a block the errors of all multipliers have a closed form: each output channel of its weight decides a part of the
error, and the error is quadratic in each channel of its input. Elsewhere each multiplier takes a run of the rest of the block.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from qhyvit.quantizers.uniform import UniformQuantizer, fake_quantize
from qhyvit.search.block_errors import OperandErrors, Scored

GRIDS_PER_RUN = 10  # multipliers of a channel that are tried where each takes a run of the block, evenly spaced


class Grids:
    """Grids of the C channels of an operand by n multipliers: ``scale`` and ``zero_point`` [n, C]."""

    def __init__(self, quantizers: Sequence[UniformQuantizer]) -> None:
        """``quantizers`` are per-channel, with one multiplier each for all channels."""
        self.scale, self.zero_point = (torch.stack([getattr(each, name) for each in quantizers]) for name in ("scale", "zero_point"))
        self.limits = quantizers[0].limits

    def of_channel(self, exact: Tensor, channel: int) -> Tensor:
        """Return the values of one channel, ``exact`` [...], on each of its grids [n, ...]."""
        scale, zero_point = (values[:, channel].view(-1, *[1] * exact.ndim) for values in (self.scale, self.zero_point))
        return fake_quantize(exact, scale, zero_point, *self.limits)

    def thinned(self, most: int) -> Self:
        """Return at most so many of the grids, in their order, which are at equal distances when sorted by scale."""
        chosen = self.scale.mean(1).argsort(stable=True)[:: -(-len(self.scale) // most)].sort().values
        some = copy(self)
        some.scale, some.zero_point = self.scale[chosen], self.zero_point[chosen]
        return some

    def with_places(self, quantizer: UniformQuantizer, channels: Tensor, places: Tensor) -> UniformQuantizer:
        """Return the quantizer with other grids for some channels, those of the multipliers in ``places``."""
        scale, zero_point = quantizer.scale.clone(), quantizer.zero_point.clone()
        scale[channels], zero_point[channels] = self.scale[places, channels], self.zero_point[places, channels]
        return replace(quantizer, scale=scale, zero_point=zero_point)


def improve_channels(errors: OperandErrors, sample: OperandErrors, start: Scored, grids: Grids) -> Scored:
    """Return ``start`` with the best grid of each channel, one channel after the other, given those of all others.

    Where the block must run for each grid, it runs on the images of the ``sample``. The best grid there replaces the old one if the error
    on all images falls.
    """
    if errors.is_last and errors.operand == "weight":
        return _by_output_channel(errors, start, grids)
    if errors.is_last and errors.operand == "input" and _is_pointwise(errors):
        return _by_quadratic_form(errors, start, grids)
    return _by_runs(errors, sample, start, grids)


def _by_output_channel(errors: OperandErrors, start: Scored, grids: Grids) -> Scored:
    """Search the channels of the last layer's weight, which do not depend on each other."""
    common = (replace(start.quantizer, scale=scale, zero_point=zero) for scale, zero in zip(grids.scale, grids.zero_point, strict=True))
    losses = errors.errors_by_channel(quantizer.fake_quantize(errors.exact) for quantizer in (start.quantizer, *common))
    least, places = losses[1:].min(0)
    (better,) = (least < losses[0]).nonzero(as_tuple=True)
    return errors.scored(grids.with_places(start.quantizer, better, places[better]))


def _by_quadratic_form(errors: OperandErrors, start: Scored, grids: Grids) -> Scored:
    """Search the channels of the last layer's input.

    When one of them changes by d, and the layer has the weights w there, the difference e of the output changes by d w^T, and its error by
    2 d^T (g^2 e) w + (d^2)^T g^2 w^2.
    """
    quantizer, axis = start.quantizer, errors.site.axis("input")
    values = quantizer.fake_quantize(errors.exact)
    exact, quantized, difference, gradient = (
        _rows(tensor, axis) for tensor in (errors.exact, values, errors.difference([values])[0], errors.problem.gradient)
    )
    fisher, difference, weight = gradient.double().square(), difference.double(), errors.other.flatten(1).double()
    for channel, weights in enumerate(weight.unbind(1)):
        change = grids.of_channel(exact[:, channel], channel).double() - quantized[:, channel]
        slope, curvature = (fisher * difference) @ weights, fisher @ weights.square()
        losses = 2 * change @ slope + change.square() @ curvature
        place = losses.argmin()
        if losses[place] < 0:
            difference += torch.outer(change[place], weights)
            quantizer = grids.with_places(quantizer, torch.tensor(channel), place)
    return errors.scored(quantizer)


def _by_runs(errors: OperandErrors, sample: OperandErrors, start: Scored, grids: Grids) -> Scored:
    """Search the channels of any operand."""
    grids = grids.thinned(GRIDS_PER_RUN)
    best, axis = start, start.quantizer.axis
    assert axis is not None
    values = best.quantizer.fake_quantize(sample.exact)
    exact = sample.exact.expand_as(values)
    least = float(sample.errors([values]))
    for channel in range(values.shape[axis]):
        of_channel = grids.of_channel(exact.select(axis, channel), channel)
        losses = sample.errors(_with_channel(values, axis, channel, each) for each in of_channel)
        place = losses.argmin()
        if losses[place] >= least:
            continue
        tried = errors.scored(grids.with_places(best.quantizer, torch.tensor(channel), place))
        if tried.error < best.error:
            best, least, values = tried, float(losses[place]), _with_channel(values, axis, channel, of_channel[place])
    return best


def _is_pointwise(errors: OperandErrors) -> bool:
    """Tell if each row of the output depends on the same row of the input, in all of its channels."""
    shapes = (tensor.shape[2:] if errors.site.kind == "conv" else () for tensor in (errors.exact, errors.problem.reference))
    is_kernel_one = errors.other[0].numel() == errors.other.shape[1]
    return errors.site.groups == 1 and is_kernel_one and len({*shapes}) == 1


def _rows(tensor: Tensor, axis: int | None) -> Tensor:
    """Return the vectors along an axis as rows [R, C]."""
    assert axis is not None
    return tensor.movedim(axis, -1).flatten(0, -2)


def _with_channel(values: Tensor, axis: int, channel: int, replacement: Tensor) -> Tensor:
    changed = values.clone()
    changed.select(axis, channel).copy_(replacement)
    return changed
