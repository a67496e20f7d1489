"""One site as a product of two operands over the sampled rows, which candidate quantizers change. A bias changes no error: none is here."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.rows import draw, moments
from qhyvit.graph.sites import Site
from qhyvit.quantizers.store import Quantizer
from qhyvit.quantizers.uniform import UniformQuantizer, fake_quantize

SAMPLED_OUTPUTS = 64  # output channels at which candidates for an input are compared first
SAMPLED_PRODUCTS = 64  # of two activations, a head
VECTORS_SHARE = 4  # how many times fewer vectors of one operand these have


class Problem:
    """A site's sampled rows as left [G, T, K] @ right [G, K, O] (a matrix product of activations: [H, B, N, D] @ [H, B, D, M]).

    Candidates for the left operand are laid along a new axis before its rows, those for the right one before its columns, so that they
    all share one product.
    """

    def __init__(self, site: Site, weight: Tensor | None, statistics: SiteStatistics) -> None:
        """``weight`` is the layer's weight [O, ...], None for a matrix product of two activations."""
        rows = statistics.rows
        self.site, self.weight = site, weight
        self._outputs: Tensor | slice = slice(None)
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

    @cached_property
    def reference(self) -> Tensor:
        """The product of the unquantized operands."""
        left, right = self.tensors.values()
        return left @ right

    @cached_property
    def by_batch(self) -> "list[Problem]":
        """The problem on each batch of images, with the ranges of all others; of a single batch with its own."""
        (counts, *_) = (found.counts for found in self._observed.values())
        ends = [self.gradient.shape[1] * end // sum(counts) for end in (0, *accumulate(counts))]
        return [self._on_batch(batch, slice(*rows)) for batch, rows in enumerate(pairwise(ends))] if len(counts) > 1 else [self]

    def _on_batch(self, batch: int, rows: slice) -> "Problem":
        part = self._slice(rows)
        part.channel_ranges = self.channel_ranges | {name: found.without(batch) for name, found in self._observed.items()}
        return part

    def _slice(self, rows: slice) -> "Problem":
        part = copy(self)
        part.tensors = {name: tensor if name == "weight" else tensor[:, rows] for name, tensor in self.tensors.items()}
        part.gradient, part.factor, part.reference = (tensor[:, rows] for tensor in (self.gradient, self.factor, self.reference))
        return part

    def sampled(self, operand: str, rows: int) -> "Problem":
        """The problem on so many of the rows, where there are many more, to compare candidates for the operand.

        They are drawn as the calibration drew rows; of a group of channels, which has few weights, half as many. Candidates for an input,
        on which all outputs depend, need but some of these. Of products of activations there are some, with a share of the operand's
        vectors, its rows or columns.
        """
        if (operand, rows) not in self._samples:
            self._samples[operand, rows] = self._of_products(operand, rows) if self.weight is None else self._of_layer(operand, rows)
        return self._samples[operand, rows]

    def _of_layer(self, operand: str, rows: int) -> "Problem":
        if self.site.groups > 1:
            rows //= 2
        sample = self if self.tensors["input"].shape[1] < 2 * rows else self._drawn("input", rows)
        outputs = operand == "input" and self.site.groups == 1
        return sample._drawn("weight", SAMPLED_OUTPUTS) if outputs else sample

    def _of_products(self, operand: str, count: int) -> "Problem":
        products, vectors = self.gradient.shape[1], self.gradient.shape[2 if operand == "left" else 3]
        sample = self._slice(slice(None, None, max(1, products // SAMPLED_PRODUCTS)))
        many = products * vectors >= VECTORS_SHARE * count
        return sample._drawn(operand, -(-vectors // VECTORS_SHARE)) if many else sample

    def _drawn(self, operand: str, count: int) -> "Problem":
        """The problem with so many of the operand's vectors: the rows of the left one, or the columns of the right one."""
        left = operand == self.site.operands[0]

        def turned(tensor: Tensor) -> Tensor:
            return tensor if left else tensor.mT

        vectors, gradient = turned(self.tensors[operand]), turned(self.gradient)
        energy, *of_vectors = (found.flatten(0, -2) for found in (gradient.square().sum(-1), *moments(vectors, -1)))
        index, factor = draw(energy, (of_vectors[0], of_vectors[1]), min(count, vectors.shape[-2]), torch.Generator().manual_seed(count))
        index, factor = (drawn.reshape(*vectors.shape[:-2], -1, 1) for drawn in (index, factor))

        def pick(tensor: Tensor) -> Tensor:
            return tensor.gather(-2, index.expand(*index.shape[:-1], tensor.shape[-1]))

        thin = copy(self)
        thin.tensors = self.tensors | {operand: self._laid_out(turned(pick(vectors)))}
        thin.gradient, thin.reference = turned(pick(gradient) * factor), turned(pick(turned(self.reference)))
        if left:
            thin.factor = pick(self.factor) * factor
        else:
            thin.column_factor = self.column_factor * factor.mT
        if operand == "weight":
            thin._outputs = index.flatten()
        return thin

    def range(self, operand: str, granularity: str) -> tuple[Tensor, Tensor]:
        """The smallest and largest value of each quantization unit: [C] by channel, [] for the whole tensor."""
        low, high = self.channel_ranges[operand]
        return (low.amin(), high.amax()) if granularity == "tensor" else (low, high)

    def quantized(self, operand: str, quantizer: Quantizer) -> Tensor:
        """The operand's rows, fake-quantized."""
        if operand == "weight":
            assert self.weight is not None
            return self._as_right(quantizer.fake_quantize(self.weight))
        if not isinstance(quantizer, UniformQuantizer):  # the other kinds have no channels to be found
            return quantizer.fake_quantize(self.tensors[operand])
        scale, zero_point = quantizer.scale[None], quantizer.zero_point[None]
        return self.candidates(operand, scale, zero_point, quantizer.limits).squeeze(self._axis(operand))

    def listed(self, operand: str, quantizers: Sequence[Quantizer]) -> Tensor:
        """The operand's rows, fake-quantized by each of the quantizers, along the axis of the candidates."""
        return torch.stack([self.quantized(operand, quantizer) for quantizer in quantizers], dim=self._axis(operand))

    def candidates(self, operand: str, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]) -> Tensor:
        """The operand's rows on each of m grids with scales and zero points [m] or [m, C], along the axis of the candidates."""
        if operand == "right":  # as the rows of a left operand, since loops over few columns would be short
            columns = self.along_candidates("left", self.tensors[operand].mT)
            return fake_quantize(columns, self._spread("left", scale), self._spread("left", zero_point), *limits).movedim(-1, -3)
        rows = self.along_candidates(operand, self.tensors[operand])
        return fake_quantize(rows, self._spread(operand, scale), self._spread(operand, zero_point), *limits)

    def products(self, operand: str, candidates: Tensor, other: Tensor) -> Tensor:
        """The products of candidates for one operand, which are used up, with the rows of the other, with the axis of the candidates."""
        axis = self._axis(operand)
        if self.depthwise and operand == "input":  # a product with a vector is slow
            return candidates.mul_(other.transpose(1, 2).unsqueeze(1)).sum(-1, keepdim=True)
        shared = candidates.flatten(axis, axis + 1)
        product = shared @ other if axis == -3 else other @ shared
        return product.unflatten(axis + 1, (candidates.shape[axis], -1))

    def along_candidates(self, operand: str, tensor: Tensor) -> Tensor:
        """What all candidates for the operand share, with their axis."""
        return tensor.unsqueeze(self._axis(operand))

    def sum_by_unit(self, operand: str, granularity: str, elements: Tensor) -> Tensor:
        """The sums over all that can be chosen independently of the rest, of elements with the axis of m candidates.

        They are [m, output channels] for a weight, [m, groups] for an input, [m, heads] for a matrix product; [m] when the granularity is
        the whole tensor.
        """
        candidates = elements.movedim(self._axis(operand), 0)
        if granularity == "tensor":
            return candidates.sum(dim=tuple(range(1, candidates.ndim)))
        if operand == "weight":
            return candidates.sum(dim=2).flatten(1)
        return candidates.sum(dim=tuple(range(2, candidates.ndim)))

    def units(self, operand: str, granularity: str) -> tuple[int, ...]:
        """The shape of `sum_by_unit` for one candidate."""
        if granularity == "tensor":
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
        """Values of m candidates, [m] or [m, C], to where the operand's rows on m grids have their channels."""
        behind = [1] * (-self._axis(operand) - 1)
        if values.ndim == 1:
            return values.view(-1, *behind)
        if self.site.kind == "matmul":
            return values.t().reshape(values.shape[1], *[1] * (3 - len(behind)), -1, *behind)
        grouped = values.unflatten(1, (self.site.groups, -1)).transpose(0, 1)
        if operand == "weight":
            return grouped.unsqueeze(1)
        repeats = self.tensors["input"].shape[2] // grouped.shape[2]
        return grouped.repeat_interleave(repeats, dim=2).unsqueeze(2)
