"""The reconstruction error of one site as a function of its two quantizers.

Q-HyViT (arXiv 2303.12557), Eq. 9: E[dO^T diag(g^2) dO], over the sampled rows. Since a bias cancels in dO, the product alone counts.
"""

from functools import cached_property

import torch
from torch import Tensor

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.graph.sites import Site
from qhyvit.quantizers.uniform import UniformQuantizer, fake_quantize


class Problem:
    """A site's sampled rows as left [G, T, K] @ right [G, K, O] (a matrix product of activations: [H, B, N, D] @ [H, B, D, M])."""

    def __init__(self, site: Site, weight: Tensor | None, statistics: SiteStatistics) -> None:
        """``weight`` is the layer's weight [O, ...], None for a matrix product of two activations."""
        rows = statistics.rows
        right = rows.right if weight is None else weight.reshape(site.groups, -1, weight[0].numel()).transpose(1, 2)
        assert right is not None
        self.site = site
        self.gradient = rows.gradient
        self.tensors = dict(zip(site.operands, (rows.left, right.contiguous()), strict=True))
        self.channel_ranges = {name: (found.low, found.high) for name, found in statistics.ranges.items()}
        if weight is not None:
            self.channel_ranges["weight"] = (weight.flatten(1).amin(1), weight.flatten(1).amax(1))

    @cached_property
    def reference(self) -> Tensor:
        """The product of the unquantized operands."""
        left, right = self.tensors.values()
        return left @ right

    def range(self, operand: str, granularity: str) -> tuple[Tensor, Tensor]:
        """The smallest and largest value of each quantization unit: [C] by channel, [] for the whole tensor."""
        low, high = self.channel_ranges[operand]
        return (low.amin(), high.amax()) if granularity == "tensor" else (low, high)

    def quantized(self, operand: str, quantizer: UniformQuantizer) -> Tensor:
        """The operand's rows, fake-quantized."""
        scale, zero_point = (self._spread(operand, vector) for vector in (quantizer.scale, quantizer.zero_point))
        return fake_quantize(self.tensors[operand], scale, zero_point, *quantizer.limits)

    def errors(self, left: Tensor, right: Tensor) -> Tensor:
        """The squared gradient-weighted errors of the product of the given operands, of the product's shape."""
        return torch.matmul(left, right).sub_(self.reference).mul_(self.gradient).square_()

    def errors_by_unit(self, operand: str, granularity: str, errors: Tensor) -> Tensor:
        """``errors`` summed over what can be chosen independently of the rest.

        That is each output channel for a weight, each group for an input, each head for a matrix product; everything at once when the
        granularity is the whole tensor.
        """
        if granularity == "tensor":
            return errors.sum()
        if operand == "weight":
            return errors.sum(dim=1).flatten()
        return errors.flatten(1).sum(dim=1)

    def units(self, operand: str, granularity: str) -> tuple[int, ...]:
        """The shape of `errors_by_unit`."""
        if granularity == "tensor":
            return ()
        if operand == "weight":
            return (len(self.channel_ranges[operand][0]),)
        return (self.gradient.shape[0],)

    def by_channel(self, operand: str, per_unit: Tensor) -> Tensor:
        """One value a unit of `errors_by_unit`, repeated for each channel of the unit; [] stays []."""
        if per_unit.ndim == 0:
            return per_unit
        channels = len(self.channel_ranges[operand][0])
        return per_unit.repeat_interleave(channels // len(per_unit))

    def _spread(self, operand: str, vector: Tensor) -> Tensor:
        """One value a channel, in the layout of the operand's rows."""
        if vector.ndim == 0:
            return vector
        if self.site.kind == "matmul":
            return vector.view(-1, 1, 1, 1)
        grouped = vector.view(self.site.groups, 1, -1)
        if operand == "weight":
            return grouped
        repeats = self.tensors["input"].shape[2] // grouped.shape[2]
        return grouped.repeat_interleave(repeats, dim=2)
