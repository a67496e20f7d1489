"""Forward and backward passes over calibration images that keep the values and gradients of some nodes."""

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

Receive = Callable[[fx.Node, Tensor], None]


class Recorder(FakeQuantInterpreter):
    """Interpreter that keeps the ``values`` of some nodes, before fake quantization, and the gradients at the outputs of some sites.

    With ``receive``, each gradient goes there as soon as the backward pass has computed it. It must not hold the recorder, whose last
    value holds the graph of the backward pass, and with it ``receive``.
    """

    def __init__(
        self,
        graph_module: fx.GraphModule,
        sites: Sequence[Site],
        quantizers: Quantizers,
        kept: Collection[fx.Node],
        watched: Collection[Site],
        receive: Receive | None = None,
    ) -> None:
        super().__init__(graph_module, sites, quantizers)
        self.kept = kept
        self.watched = {site.node: site.name for site in watched}
        self.values: dict[fx.Node, Any] = {}
        self.gradients: dict[fx.Node, Tensor] = {}
        self.receive = receive or self.gradients.__setitem__

    def run_node(self, node: fx.Node) -> Any:
        """Return the value of a node, and keep it if it is one of ``kept``."""
        value = super().run_node(node)
        if node in self.watched:
            require_finite(self.watched[node], value)
            if torch.is_grad_enabled():
                if not value.requires_grad:  # the first of its path
                    value.requires_grad_()
                self.gradients[node] = value.new_ones(()).expand_as(value)  # kept where none arrives: all errors count alike
                value.register_hook(partial(self.receive, node))
        if node in self.kept:
            self.values[node] = value.detach().cpu() if isinstance(value, Tensor) else value
        return value

    def gradient(self, node: fx.Node) -> Tensor:
        """Return the gradient at the output of a watched site's node, after the backward pass.

        It is 1 everywhere if the loss reaches the site by no operator that has a gradient. Raises InputError when it is not finite.
        """
        return on_cpu(self.watched[node], self.gradients[node])


class Collector(Protocol):
    """Collector of statistics over the batches of a calibration."""

    @property
    def nodes(self) -> Collection[fx.Node]:
        """Nodes whose values it needs."""

    def add(self, values: Recorder, gradients: Recorder) -> None:
        """Add one batch, from the recorder of the ``values`` and the recorder of the ``gradients`` of the watched sites."""


def backward(
    record: Callable[[Quantizers], Recorder], images: Tensor, loss: Loss, quantizers: Quantizers, generator: Generator
) -> tuple[Recorder, Recorder]:
    """Run recorders over ``images`` [B, C, H, W]: one of the FP32 network, and one of the network with ``quantizers`` for the gradients.

    Both are one if there are no quantizers. Only the watched outputs require gradients: the backward pass ends at the first of them.
    """
    exact = record(NO_QUANTIZERS)
    with torch.set_grad_enabled(not quantizers):
        logits = reference = exact.run(images)
    quantized = exact
    if quantizers:
        quantized = record(quantizers)
        logits = quantized.run(images)
    lost = loss(logits, reference, generator)
    if lost.requires_grad:  # not where each path from a site to the logits is detached
        lost.backward()
    return exact, quantized


def on_cpu(site: str, gradient: Tensor) -> Tensor:
    """Return a gradient on the CPU, contiguous. Raises InputError, with the site's name, when it is not finite."""
    require_finite(site, gradient)
    return gradient.contiguous().cpu()


def require_finite(site: str, tensor: Tensor) -> None:
    """Raise InputError, with the site's name, when its output or gradient is not finite."""
    if not (bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())):  # a sum is faster, and not finite if any value is not
        raise InputError(f"site {site}: its output or gradient is not finite; check the weights and the calibration images")
