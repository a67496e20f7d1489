"""Correct what quantization does to each output channel of a layer, in closed form and in the order of execution.

The FP32 and the quantized network run side by side. At each layer, the least-squares line from the products of the quantized network to
the outputs of FP32 is taken per channel: its intercept is the new bias, and its slope goes into the weight and its scale. Later layers
are looked at with the corrected values. With a slope of 1 it is empirical bias correction (Nagel et al., arXiv 1906.04721, Appendix D).

All positions count alike in these lines, as they do not in the search: rare large values that it clipped, since the logits hardly depend on
them, may decide a mean. The correction is therefore taken only if it lowers the divergence of the logits on other images.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_aggregate

from qhyvit.calibration.losses import kl_loss
from qhyvit.config.tuning import CorrectionSettings
from qhyvit.graph.sites import Site
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizer, Quantizers
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

ROUNDING = 1e-5  # of a mean in float32, relative to it
STEEPEST = 2.0  # slopes are between its inverse and it: outputs of few distinct values say little about theirs


@dataclass(frozen=True)
class Pair:
    """Value of a node in the FP32 network and in the quantized one."""

    reference: Any
    quantized: Any


def correct(task: Task, start: Quantizers, settings: CorrectionSettings) -> tuple[Quantizers, Parameters]:
    """Return the quantizers with corrected scales of weights, and the corrected biases and weights; integers stay, up to ties of rounding.

    The start is returned unless the correction lowers the KL divergence from the logits of FP32. It is measured on as many other images or,
    where there are none, on the same. Layers without a bias, and those with a parameter that another operator reads too, stay as they are.
    Slopes need a scale per output channel.
    """
    corrector = _Corrector(task.model.graph_module, task.model.sites, start, settings)
    images = task.calibration.read(2 * settings.images)
    fitted, others = images[: settings.images], images[settings.images :]
    with torch.no_grad():
        corrector.run(Pair(fitted, fitted))
        before, after = (
            _divergence(task.model, quantizers, changed, others if len(others) else fitted)
            for quantizers, changed in ((start, NO_PARAMETERS), (corrector.quantizers, corrector.changed))
        )
    return (corrector.quantizers, corrector.changed) if after < before else (start, NO_PARAMETERS)


def _divergence(model: TracedModel, quantizers: Quantizers, changed: Parameters, images: Tensor) -> float:
    quantized = model.with_parameters(changed).with_quantizers(quantizers)
    return float(kl_loss(quantized(images), model.graph_module(images), torch.Generator()))


class _Corrector(Interpreter):
    """Run of both networks at once, node by node, which collects the corrections in ``quantizers`` and ``changed``."""

    def __init__(self, graph_module: GraphModule, sites: list[Site], start: Quantizers, settings: CorrectionSettings) -> None:
        super().__init__(graph_module)
        self.quantizers: dict[str, Mapping[str, Quantizer]] = dict(start)
        self.changed: dict[str, Tensor] = {}
        self.sites = {site.node: site for site in sites if site.name in start}
        self.uses = Counter(node.target for node in graph_module.graph.find_nodes(op="get_attr") for _ in node.users)
        self.slope = settings.slope

    def run_node(self, n: Node) -> Any:
        """Return both values of a node, that of the quantized network corrected; a parameter is one value."""
        if n.op in ("placeholder", "get_attr", "output"):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        run, reference, quantized = getattr(self, n.op), _each(args, "reference"), _each(args, "quantized")
        if site := self.sites.get(n):
            operands = self.quantizers[site.name]
            quantized = (*(operands[name].fake_quantize(x) for name, x in zip(site.operands, quantized, strict=False)), *quantized[2:])
        pair = Pair(run(n.target, reference, _each(kwargs, "reference")), run(n.target, quantized, _each(kwargs, "quantized")))
        return self._corrected(site, pair, *args[1:3]) if site and self._can_be_corrected(site) else pair

    def _can_be_corrected(self, site: Site) -> bool:
        parameters = _parameters(site.node)
        return len(parameters) == 2 and all(self.uses[parameter.target] == 1 for parameter in parameters)

    def _corrected(self, site: Site, pair: Pair, weight: Tensor, bias: Tensor) -> Pair:
        """Return the pair of a layer, given its weight and its bias, after its correction."""
        of_channel = [1] * pair.quantized.ndim
        of_channel[1 if site.kind == "conv" else -1] = -1
        product, (weight_name, bias_name) = pair.quantized - bias.view(of_channel), (str(each.target) for each in _parameters(site.node))
        quantizer = self.quantizers[site.name]["weight"]
        slope = torch.ones_like(bias)
        if self.slope and isinstance(quantizer, UniformQuantizer | RescaledWeightQuantizer) and quantizer.scale.shape == slope.shape:
            slope = _slope(product, pair.reference, of_channel)
            self.quantizers[site.name] = {**self.quantizers[site.name], "weight": replace(quantizer, scale=quantizer.scale * slope)}
            self.changed[weight_name] = weight * slope.view(-1, *[1] * (weight.ndim - 1))
        product *= slope.view(of_channel)
        self.changed[bias_name] = _mean(pair.reference - product, of_channel)
        return Pair(pair.reference, product + self.changed[bias_name].view(of_channel))


def _slope(x: Tensor, y: Tensor, of_channel: list[int]) -> Tensor:
    """Return the slopes [C] of the least-squares lines from ``x`` to ``y``; 1 for a channel that is constant in ``x``."""
    mean = _mean(x, of_channel)
    x = x - mean.view(of_channel)
    variance = _mean(x * x, of_channel)
    slope = _mean(x * y, of_channel) / variance
    return torch.where(variance > (ROUNDING * mean).square(), slope, 1.0).clamp(1 / STEEPEST, STEEPEST)


def _mean(x: Tensor, of_channel: list[int]) -> Tensor:
    """Return the mean per channel [C], along the axis at which ``of_channel`` is -1."""
    return x.movedim(of_channel.index(-1), 0).flatten(1).mean(1)


def _parameters(node: Node) -> list[Node]:
    """Return the weight and the bias of a layer, as far as they are parameters."""
    return [argument for argument in node.args[1:3] if isinstance(argument, Node) and argument.op == "get_attr"]


def _each(arguments: Any, value: str) -> Any:
    """Return arguments with one of the values of each pair in its place."""
    return map_aggregate(arguments, lambda argument: getattr(argument, value) if isinstance(argument, Pair) else argument)
