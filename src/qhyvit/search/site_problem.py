"""Search problem of one site: the product of two operands over the sampled rows.

A bias cancels in an error; only directions depend on it.
"""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import in_equal_batches
from qhyvit.graph.sites import Site
from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.operand_grids import OperandLayout


class SiteProblem:
    """Sampled rows of a site as left @ right, in the shapes of `OperandLayout`, with gradients of the shape of the product.

    ``importance`` [G, T, 1] (of products of activations [H, B, N, 1]) and ``column_importance`` (all ones, or one per column) are factors
    of the errors; the gradient has been multiplied by them. ``samples`` keeps the parts that `qhyvit.search.subsample` makes.
    """

    def __init__(
        self, site: Site, weight: Tensor | None, statistics: SiteStatistics, bias: Tensor | None = None, parts: Tensor | None = None
    ) -> None:
        """``weight`` is the layer's weight [O, ...], None for a matrix product of two activations; ``bias`` [O] is the layer's, if any.

        ``parts`` [O], int64, numbers the parts of the outputs that may have a weight scale each, 0 to the number of parts - 1.
        """
        counts = next(observed.counts for observed in statistics.ranges.values())
        rows = in_equal_batches(statistics.rows, counts)
        self.site, self.weight, self.bias, self.batches = site, weight, bias, len(counts)
        self.parts = parts
        self.layout = OperandLayout(site, depthwise=weight is not None and len(weight) == site.groups and weight.shape[1] == 1)
        self.outputs: Tensor | slice = slice(None)  # output channels of each group that the problem has
        self.batch = slice(None)  # batches that the problem has
        right = rows.right if weight is None else self.layout.weight_rows(weight, self.outputs)
        assert right is not None
        self.tensors = dict(zip(site.operands, (self.layout.arrange_left(rows.left), self.layout.arrange_right(right)), strict=True))
        self.gradient, self.importance = rows.gradient, rows.importance
        self.column_importance = torch.ones([1] * rows.importance.ndim)
        self.channel_ranges = channel_ranges(statistics, weight)
        self.samples: dict[tuple[str, int], SiteProblem] = {}
        self.observed = statistics.ranges
        self._quantized: dict[str, tuple[Quantizer, Tensor]] = {}

    def with_rows(self, **changes: Any) -> Self:
        """Return a copy with other rows: ``changes`` are new values of attributes."""
        other = copy(self)
        other.samples, other._quantized = {}, {}
        for derived in ("_transposed", "ranges_of_others"):
            other.__dict__.pop(derived, None)
        vars(other).update(changes)
        return other

    @cached_property
    def reference(self) -> Tensor:
        """The product of the unquantized operands."""
        left, right = self.tensors.values()
        return left @ right

    @property
    def output_bias(self) -> Tensor | None:
        """The bias of the output channels that the problem has [G, 1, O / G]."""
        return None if self.bias is None else self.bias.view(self.site.groups, 1, -1)[..., self.outputs]

    @cached_property
    def _transposed(self) -> tuple[Tensor, Tensor]:
        """The reference and the gradient of the transposed product, with an axis for candidates before their rows."""
        reference, gradient = (tensor.mT.contiguous().unsqueeze(-3) for tensor in (self.reference, self.gradient))
        return reference, gradient

    @cached_property
    def ranges_of_others(self) -> dict[str, tuple[Tensor, Tensor]]:
        """For each activation operand, the smallest and largest value of each channel in all batches except one [B, C]."""
        return {name: observed.of_others() for name, observed in self.observed.items()}

    def range(self, operand: str, granularity: str) -> tuple[Tensor, Tensor]:
        """Return the smallest and largest value of each quantization unit: [C] per channel, [] per tensor."""
        return range_of_units(self.channel_ranges[operand], granularity)

    def quantized(self, operand: str, quantizer: Quantizer | None) -> Tensor:
        """Return the operand's rows, fake-quantized unless ``quantizer`` is None.

        The last result is kept: all families of the other operand use it.
        """
        if quantizer is None:
            return self.tensors[operand]
        if operand not in self._quantized or self._quantized[operand][0] is not quantizer:
            self._quantized[operand] = quantizer, self._fake_quantized(operand, quantizer)
        return self._quantized[operand][1]

    def _fake_quantized(self, operand: str, quantizer: Quantizer) -> Tensor:
        if operand == "weight":
            assert self.weight is not None
            return self.layout.weight_rows(quantizer.fake_quantize(self.weight), self.outputs)
        if not isinstance(quantizer, UniformQuantizer):  # the other kinds of activation quantizers are per-tensor
            return quantizer.fake_quantize(self.tensors[operand])
        scale, zero_point = (values.view(1, 1, -1) for values in (quantizer.scale, quantizer.zero_point))
        return self.on_grids(operand, scale, zero_point, quantizer.limits).squeeze(self.layout.candidate_axis(operand))

    def listed(self, operand: str, quantizers: Sequence[Quantizer]) -> Tensor:
        """Return the operand's rows, fake-quantized by each of the quantizers, along the axis of the candidates."""
        axis = self.layout.candidate_axis(operand)
        return torch.stack([self._fake_quantized(operand, quantizer) for quantizer in quantizers], dim=axis)

    def on_grids(self, operand: str, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]) -> Tensor:
        """Return the operand's rows on each of m grids, along the axis of the candidates.

        Scales and zero points are [B, m, C]: one for all batches (B = 1) or one per batch, one per tensor (C = 1) or one per channel.
        """
        if len(scale) > 1:
            scale, zero_point = scale[self.batch], zero_point[self.batch]
        return self.layout.on_grids(operand, self.tensors[operand], scale, zero_point, limits)

    def products(self, operand: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the products of candidates for one operand with the rows of the other, with the axis of the candidates.

        The memory of ``candidates`` is reused.
        """
        axis = self.layout.candidate_axis(operand)
        if self.layout.depthwise and operand == "input":  # a product with a vector is slow
            return candidates.mul_(other.transpose(1, 2).unsqueeze(1)).sum(-1, keepdim=True)
        shared = candidates.flatten(axis, axis + 1)
        product = shared @ other if axis == -3 else other @ shared
        return product.unflatten(axis + 1, (candidates.shape[axis], -1))

    def errors(self, operand: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the squared errors of the `products`, weighted by squared gradients.

        Errors of a right operand are computed from the transposed product, whose loops over rows are longer than over columns.
        """
        if operand == "right":
            turned = candidates.movedim(-3, -1)
            product = (turned.flatten(-3, -2) @ other.mT).unflatten(-2, turned.shape[-3:-1])
            reference, gradient = self._transposed
            return product.sub_(reference).mul_(gradient).square_().movedim(-3, -2)
        reference, gradient = (self.along_candidates(operand, tensor) for tensor in (self.reference, self.gradient))
        return self.products(operand, candidates, other).sub_(reference).mul_(gradient).square_()

    def along_candidates(self, operand: str, tensor: Tensor) -> Tensor:
        """Return a tensor that all candidates for the operand share, with their axis."""
        return tensor.unsqueeze(self.layout.candidate_axis(operand))

    def sum_by_unit(self, operand: str, granularity: str, elements: Tensor) -> Tensor:
        """Sum elements with the axis of m candidates over all that one quantization unit decides.

        Sums are [m, output channels] for a weight, [m, groups] for an input, [m, heads] for a matrix product; [m] if per tensor, and
        [m, parts] for a weight per part.
        """
        candidates = elements.movedim(self.layout.candidate_axis(operand), 0)
        if granularity == "per_tensor":
            return candidates.sum(dim=tuple(range(1, candidates.ndim)))
        if operand == "weight":
            of_outputs = candidates.sum(dim=2).flatten(1)
            return self.sum_by_part(of_outputs) if granularity == "per_part" else of_outputs
        return candidates.sum(dim=tuple(range(2, candidates.ndim)))

    def sum_by_part(self, elements: Tensor) -> Tensor:
        """Sum elements [..., O] over the output channels of each part [..., parts]."""
        assert self.parts is not None
        return elements.new_zeros(*elements.shape[:-1], int(self.parts.max()) + 1).index_add(-1, self.parts, elements)

    def units(self, operand: str, granularity: str) -> tuple[int, ...]:
        """Return the shape of `sum_by_unit` for one candidate."""
        if granularity == "per_tensor":
            return ()
        if granularity == "per_part":
            assert self.parts is not None
            return (int(self.parts.max()) + 1,)
        if operand == "weight":
            return (len(self.channel_ranges[operand][0]),)
        return (self.gradient.shape[0],)

    def extremes_of_parts(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return the extremes of each output channel's part, given those of the channels: [O]."""
        assert self.parts is not None
        members = [self.parts == part for part in range(*self.units("weight", "per_part"))]
        lowest, highest = (
            torch.stack([reduce(ends[of_part]) for of_part in members]) for ends, reduce in ((low, torch.amin), (high, torch.amax))
        )
        return lowest[self.parts], highest[self.parts]

    def by_channel(self, operand: str, granularity: str, per_unit: Tensor) -> Tensor:
        """Repeat one value per unit [..., units] for each channel of the unit [..., C]; a scalar stays as it is."""
        if per_unit.ndim == 0:
            return per_unit
        if granularity == "per_part":
            return per_unit[..., self.parts]
        channels = len(self.channel_ranges[operand][0])
        return per_unit.repeat_interleave(channels // per_unit.shape[-1], dim=-1)


def channel_ranges(statistics: SiteStatistics, weight: Tensor | None) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the smallest and largest values [C] of the channels of each operand of a site; ``weight`` is the layer's, if it is one."""
    ranges = {name: (observed.low, observed.high) for name, observed in statistics.ranges.items()}
    return ranges if weight is None else ranges | {"weight": (weight.flatten(1).amin(1), weight.flatten(1).amax(1))}


def range_of_units(of_channels: tuple[Tensor, Tensor], granularity: str) -> tuple[Tensor, Tensor]:
    """Return the smallest and largest value of each quantization unit: [C] per channel, [] per tensor."""
    low, high = of_channels
    return (low.amin(), high.amax()) if granularity == "per_tensor" else (low, high)
