"""Passes over calibration images, forward and backward, in which the values and gradients of some nodes are kept."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, fx

from qhyvit.calibration.losses import Loss
from qhyvit.errors import InputError
from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.sites import Site
from qhyvit.quantizers.base import NO_QUANTIZERS, Quantizers


class Recorder(FakeQuantInterpreter):
    """Keeps the ``values`` of some nodes, before any rounding, and in a run with gradients those of the outputs of some sites."""

    def __init__(
        self,
        graph_module: fx.GraphModule,
        sites: Sequence[Site],
        quantizers: Quantizers,
        kept: Collection[fx.Node],
        watched: Collection[Site],
    ) -> None:
        super().__init__(graph_module, sites, quantizers)
        self.kept = kept
        self.watched = {site.node: site.name for site in watched}
        self.values: dict[fx.Node, Any] = {}
        self.gradients: dict[fx.Node, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        """The value of a node, kept where that was asked for."""
        value = super().run_node(node)
        if node in self.watched:
            require_finite(self.watched[node], value)
            if torch.is_grad_enabled():
                if not value.requires_grad:  # the first of its path
                    value.requires_grad_()
                value.register_hook(partial(self.gradients.__setitem__, node))
        if node in self.kept:
            self.values[node] = value.detach().cpu() if isinstance(value, Tensor) else value
        return value

    def gradient(self, node: fx.Node) -> Tensor:
        """That at the output of a watched site's node, after the backward pass."""
        gradient = self.gradients[node]
        require_finite(self.watched[node], gradient)
        return gradient.contiguous().cpu()


class Collector(Protocol):
    """Gathers something over the batches of a calibration."""

    @property
    def nodes(self) -> Collection[fx.Node]:
        """Those whose values it needs."""

    def add(self, values: Recorder, gradients: Recorder) -> None:
        """Take what it needs of one batch, from what kept the ``values`` and what kept the ``gradients`` of the watched sites."""


def backward(
    record: Callable[[Quantizers], Recorder], images: Tensor, loss: Loss, rounding: Quantizers, generator: Generator
) -> tuple[Recorder, Recorder]:
    """Run recorders over ``images`` [B, 3, H, W], of the FP32 network for its values, of the network with ``rounding`` for gradients.

    They are one where there is nothing to round. What the recorders watch begins the backward pass: the images need no gradient.
    """
    exact = record(NO_QUANTIZERS)
    with torch.set_grad_enabled(not rounding):
        logits = reference = exact.run(images)
    rounded = exact
    if rounding:
        rounded = record(rounding)
        logits = rounded.run(images)
    loss(logits, reference, generator).backward()
    return exact, rounded


def require_finite(site: str, tensor: Tensor) -> None:
    """Raise InputError, with the site's name, when its output or gradient is not finite."""
    if not (bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())):  # a sum is found sooner, and is not finite if any value is not
        raise InputError(f"site {site}: its output or gradient is not finite; check the weights and the calibration images")
