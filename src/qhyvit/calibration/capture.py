"""One forward and one backward pass over the calibration images, for all sites at once: ranges, sampled rows, Fisher gradients.

Squared gradients take the place of the Hessian in the reconstruction error E[dO^T diag(g^2) dO] (Q-HyViT, Eq. 9).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch
from torch import Generator, Tensor, fx

from qhyvit.calibration.losses import Loss, fisher_loss
from qhyvit.calibration.ranges import Range, merge, observe
from qhyvit.calibration.rows import Rows, concatenate, draw_rows
from qhyvit.errors import InputError
from qhyvit.graph.rounding import Rounding
from qhyvit.graph.sites import Site
from qhyvit.graph.tensors import TensorSite
from qhyvit.quantizers.store import Quantizers

UNROUNDED: Quantizers = MappingProxyType({})
TENSOR_POSITIONS = 512  # enough for the squared errors of one channel's few candidate scales, and small beside the rows of the sites


@dataclass(frozen=True)
class SiteStatistics:
    """What calibration knows of a site: the range of each activation operand and the sampled rows."""

    ranges: dict[str, Range]
    rows: Rows


@dataclass(frozen=True)
class TensorStatistics:
    """What calibration knows of a tensor site: its range and the ``sample`` [N, C] of its values at some positions.

    C are the channels. Of a tensor without a channel axis, a softmax, C is its last axis, so that a position is a whole distribution.
    """

    range: Range
    sample: Tensor


class SiteRecorder(Rounding):
    """Keeps of watched sites the operands, before any rounding, if ``values`` are asked for, and in a run with gradients the outputs."""

    def __init__(
        self, graph_module: fx.GraphModule, sites: Sequence[Site], quantizers: Quantizers, watched: Sequence[Site], *, values: bool
    ) -> None:
        super().__init__(graph_module, sites, quantizers)
        self.watched = {site.node: site for site in watched}
        self.values = values
        self.operands: dict[fx.Node, tuple[Tensor, Tensor]] = {}
        self.outputs: dict[fx.Node, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        """The value of a node, kept where it is watched."""
        output = super().run_node(node)
        if node in self.watched:
            _require_finite(self.watched[node], output)
            if torch.is_grad_enabled():
                if not output.requires_grad:  # the first of its path
                    output.requires_grad_()
                output.retain_grad()
                self.outputs[node] = output
            if self.values:
                left, right = (self.env[argument] for argument in node.args[:2] if isinstance(argument, fx.Node))
                self.operands[node] = (left.detach().cpu(), right.detach().cpu())
        return output


Recorder = TypeVar("Recorder", bound=Rounding)


def backward(
    record: Callable[[Quantizers], Recorder], images: Tensor, loss: Loss, rounding: Quantizers, generator: Generator
) -> tuple[Recorder, Recorder]:
    """Run recorders over ``images`` [B, 3, H, W], of the FP32 network for its values, of the network with ``rounding`` for gradients.

    They are one where there is nothing to round. What the recorders watch begins the backward pass: the images need no gradient.
    """
    exact = record(UNROUNDED)
    with torch.set_grad_enabled(not rounding):
        logits = reference = exact.run(images)
    rounded = exact
    if rounding:
        rounded = record(rounding)
        logits = rounded.run(images)
    loss(logits, reference, generator).backward()
    return exact, rounded


def capture(
    graph_module: fx.GraphModule,
    sites: Sequence[Site],
    batches: Iterable[Tensor],
    positions: int | None,
    seed: int,
    loss: Loss = fisher_loss,
    rounding: Quantizers = UNROUNDED,
    *,
    watched: Sequence[Site] | None = None,
    values: Literal["exact", "rounded"] = "exact",
    ranges: Mapping[str, dict[str, Range]] | None = None,
) -> dict[str, SiteStatistics]:
    """Statistics of every site over ``batches`` of images [B, 3, H, W], with ``positions`` sampled output positions an image (None: all).

    The values are those of the FP32 network, the gradients those of ``loss`` at the network with the quantizers ``rounding``, which may
    give the values too. Of the ``sites``, all of which may be rounded, those that are ``watched`` have statistics (None: all). ``ranges``
    by site and operand are not observed again where they are known. Raises InputError, with the site's name, when an activation or
    gradient is not finite.
    """
    batches = list(batches)
    watched = sites if watched is None else watched
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[Rows]] = {site.name: [] for site in watched}
    observed: dict[str, list[dict[str, Range]]] = {site.name: [] for site in watched}

    rounded_values = values == "rounded" and bool(rounding)

    def record(quantizers: Quantizers) -> SiteRecorder:
        return SiteRecorder(graph_module, sites, quantizers, watched, values=bool(quantizers) == rounded_values)

    for images in batches:
        exact, rounded = backward(record, images, loss, rounding, generator)
        recorder = rounded if rounded_values else exact
        for site in watched:
            gradient = rounded.outputs[site.node].grad
            assert gradient is not None
            gradient = gradient.cpu()
            operands = _broadcast(site, recorder.operands[site.node], gradient)
            _require_finite(site, gradient)
            rows[site.name].append(draw_rows(site, operands, gradient, len(images), positions, generator))
            if ranges is None:
                observed[site.name].append(_observed(site, operands, len(batches)))
        del exact, rounded, recorder  # with all that they kept, before the next batch runs
    found = {name: _merged(parts) for name, parts in observed.items()} if ranges is None else ranges
    # A site's parts go as soon as they are joined: together they would take the memory twice.
    return {site.name: SiteStatistics(found[site.name], concatenate(rows.pop(site.name))) for site in watched}


class _TensorRecorder(fx.Interpreter):
    """Runs the graph and keeps the tensors of the tensor sites."""

    def __init__(self, graph_module: fx.GraphModule, tensors: list[TensorSite]) -> None:
        super().__init__(graph_module)
        self.nodes = {tensor.node for tensor in tensors}
        self.values: dict[fx.Node, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        output = super().run_node(node)
        if node in self.nodes:
            self.values[node] = output.cpu()
        return output


@torch.no_grad()
def capture_tensors(
    graph_module: fx.GraphModule, tensors: list[TensorSite], batches: Iterable[Tensor], seed: int
) -> dict[str, TensorStatistics]:
    """Statistics of every tensor site over ``batches`` of images [B, 3, H, W], from a forward pass of its own.

    The samples are drawn uniformly and without repetition, from each batch its share of at most `TENSOR_POSITIONS`, by a generator of
    this function alone: what `capture` draws from the same ``seed`` does not depend on the tensor sites. Raises InputError, with the
    site's name, when a tensor is not finite.
    """
    batches = list(batches)
    generator = torch.Generator().manual_seed(seed)
    ranges: dict[str, list[Range]] = {tensor.name: [] for tensor in tensors}
    samples: dict[str, list[Tensor]] = {tensor.name: [] for tensor in tensors}
    for images in batches:
        recorder = _TensorRecorder(graph_module, tensors)
        recorder.run(images)
        for tensor in tensors:
            values = recorder.values.pop(tensor.node)
            _require_finite(tensor, values)
            ranges[tensor.name].append(observe(values, tensor.axis, len(batches)))
            samples[tensor.name].append(_draw_positions(values, tensor.axis, -(-TENSOR_POSITIONS // len(batches)), generator))
    return {name: TensorStatistics(merge(ranges[name]), torch.cat(samples[name])[:TENSOR_POSITIONS]) for name in ranges}


def _draw_positions(x: Tensor, axis: int | None, count: int, generator: torch.Generator) -> Tensor:
    positions = x.movedim(-1 if axis is None else axis, -1).flatten(0, -2)
    return positions[torch.randperm(len(positions), generator=generator)[:count]]


def _broadcast(site: Site, operands: tuple[Tensor, Tensor], output: Tensor) -> tuple[Tensor, Tensor]:
    """Both operands of a matrix product with the leading dimensions of its output."""
    if site.kind != "matmul":
        return operands
    left, right = (operand.expand(*output.shape[:-2], *operand.shape[-2:]) for operand in operands)
    return left, right


def _observed(site: Site, operands: tuple[Tensor, Tensor], batches: int) -> dict[str, Range]:
    pairs = zip(site.operands, operands, strict=True)
    return {name: observe(operand, site.axis(name), batches) for name, operand in pairs if name != "weight"}


def _merged(parts: list[dict[str, Range]]) -> dict[str, Range]:
    return {name: merge([part[name] for part in parts]) for name in parts[0]}


def _require_finite(site: Site | TensorSite, tensor: Tensor) -> None:
    if not bool(torch.stack(tensor.aminmax()).isfinite().all()):  # NaN is the extreme of whatever has it
        raise InputError(f"site {site.name}: its output or gradient is not finite; check the weights and the calibration images")
