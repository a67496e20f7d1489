"""Exhaustive search as the literature runs it: one run of the real operator over all images per candidate scale.

It shares with the fast search only the quantizers and the constants of the alternation, so that tests and benchmarks can compare the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.config.base import Scheme
from qhyvit.graph.nodes import tensor_of
from qhyvit.graph.sites import Site
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.alternating import DROP_FAMILY_RATIO, LEAST_GAIN, ORDER


class Operator:
    """Operator of a site with its FP32 operands, as the node takes them, and the gradient of the loss at its output."""

    def __init__(self, graph_module: GraphModule, site: Site, operands: tuple[Tensor, Tensor], gradient: Tensor, batches: int = 1) -> None:
        """Activations and gradient are of ``batches`` batches of images, all of one size."""
        self.site = site
        self.operands = dict(zip(site.operands, operands, strict=True))
        self.others = [tensor_of(graph_module, value) if isinstance(value, Node) else value for value in site.node.args[2:]]
        self.gradient = gradient
        self.reference = self._run(*operands)
        self.parts = {name: (operand,) if name == "weight" else operand.chunk(batches) for name, operand in self.operands.items()}
        self.ranges = {name: _channel_ranges(parts, site.axis(name)) for name, parts in self.parts.items()}

    def error(self, quantizers: Mapping[str, UniformQuantizer]) -> float:
        """Return the Fisher-weighted squared error, summed over the whole output."""
        return float(self.errors({name: quantizer.fake_quantize(self.operands[name]) for name, quantizer in quantizers.items()}).sum())

    @torch.no_grad()
    def errors(self, quantized: Mapping[str, Tensor]) -> Tensor:
        """Return the errors with fake-quantized operands, per output channel of a layer or head of a product [C] ([1] without heads)."""
        output = self._run(*(quantized[name] for name in self.operands))
        squares = output.sub_(self.reference).mul_(self.gradient).square_()
        axis = self.site.axis("left" if self.site.kind == "matmul" else "input")
        return squares.sum().view(1) if axis is None else squares.movedim(axis, 0).flatten(1).sum(1)

    @torch.no_grad()
    def _run(self, left: Tensor, right: Tensor) -> Tensor:
        output: Tensor = self.site.node.target(left, right, *self.others)  # type: ignore[operator]
        return output


@dataclass(frozen=True)
class Family:
    """Uniform quantizers of one granularity and scheme that cover ``scale_multipliers`` [n] times the range of each quantization unit.

    If ``cross_validated``, they are compared by the errors of each batch of images with a range no wider than that of all other batches.
    """

    bits: int
    granularity: str
    scheme: Scheme
    scale_multipliers: Tensor
    cross_validated: bool = False


def exhaustive_search(operator: Operator, families: Mapping[str, Sequence[Family]], rounds: int) -> dict[str, UniformQuantizer]:
    """Search both operands, one after the other, each given the best quantizer found so far for the other."""
    first, second = sorted(families, key=ORDER.index)
    remaining = dict(families)
    best = {operand: _covering(operator, operand, of_operand[0], torch.tensor(1.0)) for operand, of_operand in families.items()}
    loss = float("inf")
    for _ in range(rounds):
        before = loss
        for operand in (first, second):
            results = [_best(operator, operand, family, best) for family in remaining[operand]]
            loss, best[operand] = min(results, key=lambda result: result[0])
            pairs = zip(remaining[operand], results, strict=True)
            remaining[operand] = [family for family, (least, _) in pairs if least <= DROP_FAMILY_RATIO * loss]
        if loss > (1 - LEAST_GAIN) * before:
            break
    return best


def _best(operator: Operator, operand: str, family: Family, others: Mapping[str, UniformQuantizer]) -> tuple[float, UniformQuantizer]:
    """Return the least loss and its quantizer; every quantization unit has its own best multiplier."""
    given = {name: quantizer.fake_quantize(operator.operands[name]) for name, quantizer in others.items() if name != operand}
    losses = []
    for multiplier in family.scale_multipliers:
        candidate = _quantized(operator, operand, family, multiplier)
        losses.append(_by_unit(operator.site, operand, family.granularity, operator.errors({**given, operand: candidate})))
    least, places = torch.stack(losses).min(dim=0)
    return float(least.sum()), _covering(operator, operand, family, family.scale_multipliers[places])


def _by_unit(site: Site, operand: str, granularity: str, errors: Tensor) -> Tensor:
    """Sum errors [C] over what each quantization unit decides: everything, an output channel, a group of inputs, or a head."""
    if granularity == "per_tensor":
        return errors.sum()
    return errors.view(site.groups, -1).sum(1) if operand == "input" else errors


def _quantized(operator: Operator, operand: str, family: Family, multiplier: Tensor) -> Tensor:
    """Fake-quantize the operand as its candidates are compared."""
    parts = operator.parts[operand]
    left_out: list[int | None] = [*range(len(parts))] if family.cross_validated and len(parts) > 1 else [None] * len(parts)
    grids = [_covering(operator, operand, family, multiplier, batch) for batch in left_out]
    return torch.cat([grid.fake_quantize(part) for grid, part in zip(grids, parts, strict=True)])


def _covering(operator: Operator, operand: str, family: Family, multipliers: Tensor, left_out: int | None = None) -> UniformQuantizer:
    """Return the quantizer of the units' ranges times ``multipliers``, [] or [units], clipped to the ranges without batch ``left_out``."""
    axis = operator.site.axis(operand) if family.granularity == "per_channel" else None
    low, high = _range(operator, operand, family, axis, None)
    if axis is not None and multipliers.ndim:
        multipliers = multipliers.repeat_interleave(len(low) // len(multipliers))
    low, high = multipliers * low, multipliers * high
    if left_out is not None:
        lowest, highest = _range(operator, operand, family, axis, left_out)
        low, high = torch.maximum(low, multipliers.clamp(min=1) * lowest), torch.minimum(high, multipliers.clamp(min=1) * highest)
    return UniformQuantizer.covering(low, high, family.bits, family.scheme, axis)


def _range(operator: Operator, operand: str, family: Family, axis: int | None, left_out: int | None) -> tuple[Tensor, Tensor]:
    lows, highs = operator.ranges[operand]
    others = [batch for batch in range(len(lows)) if batch != left_out]
    low, high = lows[others].amin(0), highs[others].amax(0)
    if axis is None:
        return low.amin(), high.amax()
    if family.cross_validated:
        silent = (low == 0) & (high == 0)
        low, high = torch.where(silent, low.amin(), low), torch.where(silent, high.amax(), high)
    return low, high


def _channel_ranges(parts: Sequence[Tensor], axis: int | None) -> tuple[Tensor, Tensor]:
    """Return the extremes of the channels in each batch [B, C]."""
    channels = [part.reshape(1, -1) if axis is None else part.movedim(axis, 0).flatten(1) for part in parts]
    return torch.stack([part.amin(1) for part in channels]), torch.stack([part.amax(1) for part in channels])
