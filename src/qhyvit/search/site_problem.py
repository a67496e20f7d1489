"""One site as a product of two operands over the sampled rows, which candidate quantizers change. A bias changes no error: none is here."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from math import isqrt

import torch
from torch import Tensor

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import in_equal_batches, moments, sample_positions
from qhyvit.graph.sites import Site
from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.uniform import UniformQuantizer, fake_quantize

GROUP_ROW_DIVISOR = (
    2  # how many times fewer rows a group of channels needs, which has few weights, or products, which have rows on both sides
)
SAMPLED_OUTPUTS = 64  # output channels at which candidates for an input are compared first


class Problem:
    """A site's sampled rows as left [G, T, K] @ right [G, K, O] (a matrix product of activations: [H, B, N, D] @ [H, B, D, M]).

    Candidates for the left operand are laid along a new axis before its rows, those for the right one before its columns, so that they
    all share one product.
    """

    def __init__(self, site: Site, weight: Tensor | None, statistics: SiteStatistics) -> None:
        """``weight`` is the layer's weight [O, ...], None for a matrix product of two activations."""
        counts = next(found.counts for found in statistics.ranges.values())
        rows = in_equal_batches(statistics.rows, counts)
        self.site, self.weight, self.batches = site, weight, len(counts)
        self._outputs: Tensor | slice = slice(None)
        self._batch = slice(None)
        right = rows.right if weight is None else self._as_right(weight)
        assert right is not None
        self.gradient, self.factor = rows.gradient, rows.factor
        self.column_factor = torch.ones([1] * rows.factor.ndim)
        self.depthwise = weight is not None and right.shape[2] == 1
        self.tensors = dict(zip(site.operands, (self._laid_out(rows.left), self._by_column(right)), strict=True))
        self.channel_ranges = {name: (found.low, found.high) for name, found in statistics.ranges.items()}
        if weight is not None:
            self.channel_ranges["weight"] = (weight.flatten(1).amin(1), weight.flatten(1).amax(1))
        self._observed = statistics.ranges
        self._samples: dict[tuple[str, int], Problem] = {}
        self._quantized: dict[str, tuple[Quantizer, Tensor]] = {}

    @cached_property
    def _transposed(self) -> tuple[Tensor, Tensor]:
        """The reference and the gradient of the transposed product, with an axis for candidates before their rows."""
        reference, gradient = (tensor.mT.contiguous().unsqueeze(-3) for tensor in (self.reference, self.gradient))
        return reference, gradient

    @cached_property
    def reference(self) -> Tensor:
        """The product of the unquantized operands."""
        left, right = self.tensors.values()
        return left @ right

    @cached_property
    def by_batch(self) -> "list[Problem]":
        """The problem of each batch of images alone, which takes less of the cache."""
        return [self._of_batch(number) for number in range(self.batches)]

    def _of_batch(self, number: int) -> "Problem":
        def cut(tensor: Tensor) -> Tensor:
            return tensor.chunk(self.batches, dim=1)[number].contiguous()

        part = self._copied()
        part.batches, part._batch = 1, slice(number, number + 1)
        part.tensors = {name: self._by_column(cut(rows)) if name == "right" else cut(rows) for name, rows in self.tensors.items()}
        part.gradient, part.factor, part.reference = (cut(tensor) for tensor in (self.gradient, self.factor, self.reference))
        part.column_factor = cut(self.column_factor.expand(-1, self.gradient.shape[1], -1, -1))
        return part

    def _copied(self) -> "Problem":
        """A copy that is about to have other rows."""
        other = copy(self)
        other._quantized = {}
        for name in ("by_batch", "_transposed"):
            other.__dict__.pop(name, None)
        return other

    def sampled(self, operand: str, rows: int) -> "Problem":
        """The problem on so many of the rows, where there are many more, to compare candidates for the operand; otherwise itself.

        They are drawn as the calibration drew rows, from each batch alike. Candidates for an input, on which all outputs depend, need but
        some of these. Of products of activations there are some, with some of the operand's vectors, its rows or columns.
        """
        if (operand, rows) not in self._samples:
            self._samples[operand, rows] = self._of_products(operand, rows) if self.weight is None else self._of_layer(operand, rows)
        return self._samples[operand, rows]

    def _of_layer(self, operand: str, rows: int) -> "Problem":
        if operand == "input":
            sample = self.sampled("weight", rows)
            return sample if sample is self or self.site.groups > 1 else sample._drawn("weight", SAMPLED_OUTPUTS)
        if self.site.groups > 1:
            rows //= GROUP_ROW_DIVISOR
        return self if self.tensors["input"].shape[1] < 2 * rows else self._drawn("input", -(-rows // self.batches), self.batches)

    def _of_products(self, operand: str, rows: int) -> "Problem":
        """Of all products of a batch one in k, and one in k of the operand's vectors in each, so that there are so many rows."""
        products, of_left, of_right = self.gradient.shape[1:]
        step = isqrt(products * of_left // (rows // GROUP_ROW_DIVISOR))
        if step < 2:
            return self
        some = torch.arange(products).view(self.batches, -1)[:, ::step].flatten()
        weight = (products / len(some)) ** 0.5
        sample = self._copied()
        sample.tensors = {name: tensor[:, some] for name, tensor in self.tensors.items()}
        sample.gradient, sample.factor = (tensor[:, some] * weight for tensor in (self.gradient, self.factor))
        sample.reference, sample.column_factor = self.reference[:, some], self.column_factor * weight
        return sample._drawn(operand, -(-(of_left if operand == "left" else of_right) // step))

    def _drawn(self, operand: str, count: int, parts: int = 1) -> "Problem":
        """The problem with so many of each part of the operand's vectors: the rows of the left one, or the columns of the right one."""
        left = operand == self.site.operands[0]

        def turned(tensor: Tensor) -> Tensor:
            return tensor if left else tensor.mT

        def by_part(tensor: Tensor) -> Tensor:
            return turned(tensor).unflatten(-2, (parts, -1))

        vectors, gradient = by_part(self.tensors[operand]), by_part(self.gradient)
        energy, *of_vectors = (found.flatten(0, -2) for found in (gradient.square().sum(-1), *moments(vectors, -1)))
        index, factor = sample_positions(
            energy, (of_vectors[0], of_vectors[1]), min(count, vectors.shape[-2]), torch.Generator().manual_seed(count)
        )
        index, factor = (drawn.reshape(*vectors.shape[:-2], -1, 1) for drawn in (index, factor))

        def pick(tensor: Tensor, times: Tensor | float = 1.0) -> Tensor:
            found = tensor.gather(-2, index.expand(*index.shape[:-1], tensor.shape[-1])) * times
            return turned(found.flatten(-3, -2))

        thin = self._copied()
        thin.tensors = self.tensors | {operand: self._laid_out(pick(vectors))}
        thin.gradient, thin.reference = pick(gradient, factor), pick(by_part(self.reference))
        if left:
            thin.factor = pick(by_part(self.factor), factor)
        else:
            thin.column_factor = self.column_factor * factor.flatten(-3, -2).mT
        if operand == "weight":
            thin._outputs = index.flatten()
        return thin

    def range(self, operand: str, granularity: str) -> tuple[Tensor, Tensor]:
        """The smallest and largest value of each quantization unit: [C] by channel, [] for the whole tensor."""
        low, high = self.channel_ranges[operand]
        return (low.amin(), high.amax()) if granularity == "per_tensor" else (low, high)

    @cached_property
    def ranges_of_others(self) -> dict[str, tuple[Tensor, Tensor]]:
        """For each activation operand the smallest and largest value of each channel in all batches but one [B, C]."""
        return {name: found.of_others() for name, found in self._observed.items()}

    def quantized(self, operand: str, quantizer: Quantizer | None) -> Tensor:
        """The operand's rows, fake-quantized if by a quantizer at all, and kept: all families of the other operand have them beside."""
        if quantizer is None:
            return self.tensors[operand]
        if operand not in self._quantized or self._quantized[operand][0] is not quantizer:
            self._quantized[operand] = quantizer, self._fake_quantized(operand, quantizer)
        return self._quantized[operand][1]

    def _fake_quantized(self, operand: str, quantizer: Quantizer) -> Tensor:
        if operand == "weight":
            assert self.weight is not None
            return self._as_right(quantizer.fake_quantize(self.weight))
        if not isinstance(quantizer, UniformQuantizer):  # the other kinds have no channels to be found
            return quantizer.fake_quantize(self.tensors[operand])
        scale, zero_point = (values.view(1, 1, -1) for values in (quantizer.scale, quantizer.zero_point))
        return self.candidates(operand, scale, zero_point, quantizer.limits).squeeze(self._axis(operand))

    def listed(self, operand: str, quantizers: Sequence[Quantizer]) -> Tensor:
        """The operand's rows, fake-quantized by each of the quantizers, along the axis of the candidates."""
        return torch.stack([self._fake_quantized(operand, quantizer) for quantizer in quantizers], dim=self._axis(operand))

    def candidates(self, operand: str, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]) -> Tensor:
        """The operand's rows on each of m grids, along the axis of the candidates.

        Scales and zero points are [B, m, C]: one for all batches or one a batch, one for the tensor or one a channel.
        """
        if len(scale) > 1:
            scale, zero_point = scale[self._batch], zero_point[self._batch]
        if operand == "right":  # as the rows of a left operand, since loops over few columns would be short
            return self._on_grids("left", self.tensors[operand].mT, scale, zero_point, limits).movedim(-1, -3)
        return self._on_grids(operand, self.tensors[operand], scale, zero_point, limits)

    def _on_grids(self, operand: str, rows: Tensor, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]) -> Tensor:
        grids = self._spread(operand, scale), self._spread(operand, zero_point)
        if operand == "weight":
            return fake_quantize(rows.unsqueeze(2), *grids, *limits)
        by_batch = rows.unflatten(1, (len(scale), -1))
        if operand == "left":
            return fake_quantize(by_batch.unsqueeze(3), *grids, *limits).flatten(1, 2)
        if self.depthwise and by_batch.shape[2] < scale.shape[1]:  # many candidates and few rows: the former are innermost in memory
            scale, zero_point = (grid[..., :1].movedim(1, -1).contiguous() for grid in grids)
            return fake_quantize(by_batch.unsqueeze(-1), scale, zero_point, *limits).movedim(-1, 1).flatten(2, 3)
        return fake_quantize(by_batch.unsqueeze(1), *grids, *limits).flatten(2, 3)

    def products(self, operand: str, candidates: Tensor, other: Tensor) -> Tensor:
        """The products of candidates for one operand, which are used up, with the rows of the other, with the axis of the candidates."""
        axis = self._axis(operand)
        if self.depthwise and operand == "input":  # a product with a vector is slow
            return candidates.mul_(other.transpose(1, 2).unsqueeze(1)).sum(-1, keepdim=True)
        shared = candidates.flatten(axis, axis + 1)
        product = shared @ other if axis == -3 else other @ shared
        return product.unflatten(axis + 1, (candidates.shape[axis], -1))

    def errors(self, operand: str, candidates: Tensor, other: Tensor) -> Tensor:
        """The squared errors of the `products`, weighted by squared gradients.

        Those of a right operand are of the transposed product, whose loops over rows are longer than over columns.
        """
        if operand == "right":
            turned = candidates.movedim(-3, -1)
            product = (turned.flatten(-3, -2) @ other.mT).unflatten(-2, turned.shape[-3:-1])
            reference, gradient = self._transposed
            return product.sub_(reference).mul_(gradient).square_().movedim(-3, -2)
        reference, gradient = (self.along_candidates(operand, tensor) for tensor in (self.reference, self.gradient))
        return self.products(operand, candidates, other).sub_(reference).mul_(gradient).square_()

    def along_candidates(self, operand: str, tensor: Tensor) -> Tensor:
        """What all candidates for the operand share, with their axis."""
        return tensor.unsqueeze(self._axis(operand))

    def sum_by_unit(self, operand: str, granularity: str, elements: Tensor) -> Tensor:
        """The sums over all that can be chosen independently of the rest, of elements with the axis of m candidates.

        They are [m, output channels] for a weight, [m, groups] for an input, [m, heads] for a matrix product; [m] when the granularity is
        the whole tensor.
        """
        candidates = elements.movedim(self._axis(operand), 0)
        if granularity == "per_tensor":
            return candidates.sum(dim=tuple(range(1, candidates.ndim)))
        if operand == "weight":
            return candidates.sum(dim=2).flatten(1)
        return candidates.sum(dim=tuple(range(2, candidates.ndim)))

    def units(self, operand: str, granularity: str) -> tuple[int, ...]:
        """The shape of `sum_by_unit` for one candidate."""
        if granularity == "per_tensor":
            return ()
        if operand == "weight":
            return (len(self.channel_ranges[operand][0]),)
        return (self.gradient.shape[0],)

    def by_channel(self, operand: str, per_unit: Tensor) -> Tensor:
        """One value a unit [..., units], repeated for each channel of the unit; what has no units stays as it is."""
        if per_unit.ndim == 0:
            return per_unit
        channels = len(self.channel_ranges[operand][0])
        return per_unit.repeat_interleave(channels // per_unit.shape[-1], dim=-1)

    def _laid_out(self, left: Tensor) -> Tensor:
        """The same values; of a depthwise convolution with the rows innermost in memory, as they are many and the weights few."""
        return left.transpose(1, 2).contiguous().transpose(1, 2) if self.depthwise else left

    def _by_column(self, right: Tensor) -> Tensor:
        """The same values; of an activation with each column together in memory, as candidates are made column by column."""
        return right if self.site.kind != "matmul" else right.mT.contiguous().mT

    def _as_right(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.site.groups, -1, weight[0].numel()).transpose(1, 2)[..., self._outputs].contiguous()

    def _axis(self, operand: str) -> int:
        return -3 if operand == self.site.operands[0] else -2

    def _spread(self, operand: str, values: Tensor) -> Tensor:
        """Values [B, m, C] of m candidates to where the operand's rows on m grids, in B batches, have their channels."""
        if operand == "left":
            return values.permute(2, 0, 1)[:, :, None, :, None, None]
        grouped = values[None] if values.shape[2] == 1 else values.unflatten(2, (self.site.groups, -1)).movedim(2, 0)
        if operand == "weight":
            return grouped
        repeats = self.tensors["input"].shape[2] // grouped.shape[3] if values.shape[2] > 1 else 1
        return grouped.repeat_interleave(repeats, dim=3).transpose(1, 2).unsqueeze(3)
