"""HyQ (Kim et al., IJCAI 2024): min-max ranges, and learnt scales for the input channels of MobileNetV2 blocks.

Its quantization-aware distribution scaling divides channel c of a pointwise convolution's input by alpha_c and multiplies the weight by
it. The product stays the same, and channels of different ranges share one grid. The alpha_c become part of the input's scale: here a
per-channel uniform quantizer with one zero point. Blocks are found by what the layers compute; the released code lists their names.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.config.methods import HyqMethod
from qhyvit.graph.operators import ACTIVATIONS, aten
from qhyvit.graph.output_sites import source_of
from qhyvit.graph.sites import Site, site_weight
from qhyvit.graph.walks import follow, readers
from qhyvit.methods.log2_attention import from_softmax, log2_attention
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.twin import SILU_MINIMUM
from qhyvit.quantizers.uniform import UniformQuantizer, range_to_grid
from qhyvit.search.subsample import sampled

ROWS = 512  # from which alpha is learnt; four times as many lower the error by a few percent
SMALLEST_ALPHA = 1e-3  # a step of Adam, as large as the learning rate, could lead to 0 or below


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site."""
    settings = task.settings(HyqMethod)
    scaled = find_scaled_convolutions(task.model.graph_module, task.model.sites)
    quantizers: dict[str, dict[str, Quantizer]] = {}
    for site in track(task.model.sites, "scaling"):
        if site in scaled:
            convolution = ScaledConvolution(task, site)
            inputs, weights = convolution.quantizers(convolution.learn(settings.steps, settings.learning_rate))
            quantizers[site.name] = {"input": inputs, "weight": weights}
        else:
            quantizers[site.name] = {operand: _minmax(task, site, operand) for operand in site.operands}
    return quantizers


def find_scaled_convolutions(graph_module: GraphModule, sites: Sequence[Site]) -> list[Site]:
    """Return the pointwise convolutions before and after each depthwise one, with only activation functions between them.

    The one before must have more output than input channels, which distinguishes it from the projection of the previous block.
    """
    pointwise, expanding, depthwise = set(), set(), set()
    for site in sites:
        if site.kind != "conv":
            continue
        outputs, inputs, *kernel = _weight(graph_module, site).shape
        if site.groups == 1 and kernel == [1, 1]:
            pointwise.add(site.node)
            if outputs > inputs:
                expanding.add(site.node)
        elif site.groups > 1 and inputs == 1:
            depthwise.add(site.node)
    scaled: set[Node] = set()
    for node in depthwise:
        before = follow(node.all_input_nodes[0], _is_activation)
        after = pointwise.intersection(readers(node, _is_activation))
        if before in expanding and after:
            scaled |= {before, *after}
    return [site for site in sites if site.node in scaled]


class ScaledConvolution:
    """A pointwise convolution whose quantizers and error are functions of the alpha [K] of its input channels."""

    def __init__(self, task: Task, site: Site) -> None:
        """``site`` is one that `find_scaled_convolutions` returns."""
        self.site, self.problem = site, sampled(task.problem(site), "weight", ROWS)
        assert self.problem.weight is not None
        self.weight = self.problem.weight.flatten(1)
        self.low, self.high = self.problem.range("input", "per_channel")
        self.bits = {operand: task.bits(site, operand) for operand in site.operands}
        self.schemes = {operand: task.choices(site, operand).scheme[0] for operand in site.operands}

    def learn(self, steps: int, learning_rate: float) -> Tensor:
        """Return the alpha [K] with the least error on the path of Adam, which starts at 1; the learning rate falls to 0 as a cosine."""
        alpha = torch.ones_like(self.low, requires_grad=True)
        optimizer = torch.optim.Adam([alpha], learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        least, best = float("inf"), torch.ones_like(self.low)
        for _ in range(steps):
            error = self.error(alpha)
            if float(error.detach()) < least:
                least, best = float(error.detach()), alpha.detach().clone()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                alpha.clamp_(min=SMALLEST_ALPHA)
        return best

    def error(self, alpha: Tensor) -> Tensor:
        """Return the mean squared error at the output [], estimated from the sampled rows.

        As in the released code, rounding has no gradient: the product of integers is a constant, and ``alpha`` acts only through the two
        scales that multiply it.
        """
        (input_scale, _), (weight_scale, _) = self._grids(alpha)
        scale = input_scale * weight_scale
        with torch.no_grad():
            inputs, weights = self.quantizers(alpha)
            integers = self.problem.quantized("input", inputs) @ self.problem.quantized("weight", weights) / scale
        count = self.problem.importance.square().sum() * self.problem.reference.shape[2]
        return ((integers * scale - self.problem.reference) * self.problem.importance).square().sum() / count

    def quantizers(self, alpha: Tensor) -> tuple[UniformQuantizer, RescaledWeightQuantizer]:
        """Return the min-max quantizers of the input divided by ``alpha`` [K] and of the weight multiplied by it."""
        (scale, zero_point), weight_grid = self._grids(alpha)
        return (
            UniformQuantizer(
                self.bits["input"], self.schemes["input"], scale * alpha, zero_point.expand_as(alpha), self.site.axis("input")
            ),
            RescaledWeightQuantizer(self.bits["weight"], self.schemes["weight"], *weight_grid, alpha),
        )

    def _grids(self, alpha: Tensor) -> list[tuple[Tensor, Tensor]]:
        weight = self.weight * alpha
        ranges = {
            "input": ((self.low / alpha).amin(), (self.high / alpha).amax()),
            "weight": (weight.amin(1), weight.amax(1)),
        }
        return [range_to_grid(*ends, self.bits[operand], self.schemes[operand]) for operand, ends in ranges.items()]


def _minmax(task: Task, site: Site, operand: str) -> Quantizer:
    if from_softmax(site, operand):
        return log2_attention()
    low, high = task.default_range(site, operand)
    if site.depthwise and operand == "input" and source_of(site, operand).target is aten.silu.default:
        low = torch.full_like(low, SILU_MINIMUM)  # as in the released code
    return task.covering(site, operand, low, high)


def _weight(graph_module: GraphModule, site: Site) -> Tensor:
    weight = site_weight(graph_module, site)
    assert weight is not None
    return weight


def _is_activation(node: Node) -> bool:
    return node.target in ACTIVATIONS
