"""Parts of the sources that this project has otherwise, each in the form that a measurement needs: quantizers, searches and arithmetic."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, update_wrapper
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import broadcast, sample_rows
from qhyvit.calibration.ranges import observe
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.fake_quant import FakeQuantize
from qhyvit.graph.floating_point import floating_point_nodes
from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.nodes import rearranges, tensor_of
from qhyvit.graph.operators import SOFTMAX, aten
from qhyvit.graph.output_sites import OutputSite
from qhyvit.graph.sites import Site, site_weight
from qhyvit.graph.walks import readers
from qhyvit.methods import ptq4vit, repqvit, scale_search
from qhyvit.methods.recalibration import default_quantizers
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.uniform import SMALLEST_SCALE, UniformQuantizer, grid_limits, range_to_grid
from qhyvit.search.block_errors import OperandErrors, Scored
from qhyvit.search.candidates import ListedCandidates
from qhyvit.search.channel_multipliers import Grids, improve_channels
from qhyvit.search.site_problem import SiteProblem

Grid = tuple[Tensor, Tensor]
LOG2_E = 1.4426950408889634
IBERT = (0.35815147, 0.96963238, 1.0)  # coefficients of exp between -log 2 and 0 (I-BERT, arXiv 2101.01321), as FQ-ViT's code has them
ROUNDED = {"logits", "layer", "product", "sum", "network"}  # kinds of results that FQ-ViT's code rounds


# Grids


def half_step_wider(low: Tensor, high: Tensor, bits: int, scheme: str) -> Grid:
    """Return the grid that clips the largest value of a symmetric range: it divides by half a step more (FQ-ViT's code)."""
    scale, zero_point = range_to_grid(low, high, bits, scheme)  # type: ignore[arg-type]
    _, qmax = grid_limits(bits, scheme)  # type: ignore[arg-type]
    return (scale * qmax / (qmax + 0.5) if scheme == "symmetric" else scale), zero_point


def range_as_it_is(low: Tensor, high: Tensor, bits: int, scheme: str) -> Grid:
    """Return the asymmetric grid of [low, high] that need not contain 0, so that the zero point may lie off the grid (RepQ-ViT's code)."""
    qmin, qmax = grid_limits(bits, scheme)  # type: ignore[arg-type]
    scale = ((high - low) / (qmax - qmin)).clamp(min=SMALLEST_SCALE)
    return scale, torch.round(qmin - low / scale)


def nearest_power(quantizer: LogQuantizer, x: Tensor) -> Tensor:
    """Return the integers of the powers of two nearest to the reciprocal of ``x``, which is rounded first (FQ-ViT's code)."""
    reciprocal = torch.round(quantizer.delta / x.clamp(min=0)).clamp(max=2.0**40)
    below = torch.floor(torch.log2(reciprocal))
    return (below + (reciprocal - 2**below >= 2 ** (below - 1))).clamp(0, 2**quantizer.bits)


def layer_norm_reads(site: OutputSite) -> bool:
    """Tell if a LayerNorm reads the tensor: no other norm has power-of-two factors in FQ-ViT's code."""
    return any(reader.target is aten.layer_norm.default for reader in readers(site.node, rearranges))


# Searches


def cosine_before_norm(factors: Mapping[str, Tensor]) -> Callable[[Task, Site], SiteProblem]:
    """Return problems whose outputs are those before the folded BatchNorm, without the bias that came from it (EasyQuant's code).

    ``factors`` [O] are those by which the weights have been multiplied, by the name of the layer's node.
    """
    original = Task.problem

    def problem(task: Task, site: Site) -> SiteProblem:
        found = original(task, site)
        if site.node.name in factors:
            found.bias = None
            found.column_importance = found.column_importance / factors[site.node.name].view(site.groups, 1, -1)
        return found

    return problem


class SplitsGivenFp32(ListedCandidates):
    """Splits of a softmax that are compared with the other operand in FP32 (PTQ4ViT's code)."""

    def losses(self, other: Quantizer | None, index: Tensor, rows: int | None = None) -> Tensor:
        """Return the losses of the candidates with the other operand unquantized."""
        return super().losses(None, index, rows)


def splits_given_fp32(original: Callable[..., ListedCandidates] = ptq4vit._after_softmax) -> Callable[..., ListedCandidates]:
    """Return the candidates of a softmax in this form."""
    return lambda task, problem: SplitsGivenFp32(**vars(original(task, problem)))


def defaults_in_blocks(original: Callable[[Task], Quantizers] = scale_search.search_sites) -> Callable[[Task], Quantizers]:
    """Return a search that leaves the default quantizers to the sites of bridge blocks."""

    def search(task: Task) -> Quantizers:
        blocks = find_bridge_blocks(task.model.graph_module, task.model.sites)
        inside = {site.name for block in blocks for site in block.sites}
        return {**original(task), **{name: found for name, found in default_quantizers(task).items() if name in inside}}

    return search


def common_multiplier(errors: OperandErrors, sample: OperandErrors, start: Scored, grids: Grids) -> Scored:
    """Return the quantizer whose channels share one multiplier."""
    return start


def both_schemes(errors: OperandErrors, sample: OperandErrors, start: Scored, grids: Grids) -> Scored:
    """Return the best of both schemes with a multiplier per channel; the second starts where its range is covered."""
    scheme = "asymmetric" if start.quantizer.scheme == "symmetric" else "symmetric"
    bits, axis = start.quantizer.bits, start.quantizer.axis
    assert axis is not None
    found = [improve_channels(errors, sample, start, grids)]
    if errors.operand != "weight":
        others = [index for index in range(errors.exact.ndim) if index != axis % errors.exact.ndim]
        low, high = errors.exact.amin(others), errors.exact.amax(others)
        multipliers = torch.linspace(0.01, 1.2, len(grids.scale))
        family = [UniformQuantizer.covering(times * low, times * high, bits, scheme, axis) for times in multipliers]  # type: ignore[arg-type]
        found.append(improve_channels(errors, sample, errors.least(sample.best(family, 10)), Grids(family)))
    return min(found, key=lambda scored: scored.error)


class InOrder(FakeQuantInterpreter):
    """RepQ-ViT's calibration as in its code: each site is calibrated on what the sites before it, already quantized, compute."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.model.graph_module, task.model.sites, {})
        self.task, self.found = task, dict[str, dict[str, Quantizer]]()
        self.by_node = {site.node: site for site in task.model.sites}
        self.layers = {site.name: layers[0].name for layers in repqvit.absorbed_layers(task.model.sites) for site in layers}
        self.shared: dict[str, UniformQuantizer] = {}
        self.generator = torch.Generator().manual_seed(task.calibration.seed)

    def run_node(self, node: Node) -> Any:
        """Return the value of a node, and quantize it first if it is a site."""
        if node in self.by_node:
            self._calibrate(node)
        return super().run_node(node)

    def _calibrate(self, node: Node) -> None:
        site = self.by_node[node]
        output = torch.zeros_like(node.target(*self.fetch_args_kwargs_from_env(node)[0]))  # type: ignore[operator]
        operands = broadcast(site, [self.env[source] for source in site.operand_nodes], output)
        rows = sample_rows(site, operands, output, len(output), self.task.calibration.positions, self.generator)
        pairs = zip(site.operands, operands, strict=True)
        ranges = {name: observe(operand, site.axis(name), 1) for name, operand in pairs if name != "weight"}
        task = replace(self.task, statistics={site.name: SiteStatistics(ranges, in_memory(rows))})
        if (first := self.layers.get(site.name)) is not None:
            self.shared.setdefault(first, repqvit._by_channel(task, site))
        self.found[site.name] = repqvit._quantize_site(task, site, self.shared.get(first or ""))
        self.quantizers, self.quantized_sites = self.found, {**self.quantized_sites, node: site}


@torch.no_grad()
def calibrated_in_order(task: Task) -> Quantizers:
    """Return the quantizers of RepQ-ViT, site by site."""
    calibration = InOrder(task)
    calibration.run(torch.cat(task.calibration.read_batches()))
    return calibration.found


# Arithmetic


def integer_exponential(x: Tensor) -> Tensor:
    """Return exp of ``x`` <= 0 by a quadratic polynomial in each octave (I-BERT, FQ-ViT)."""
    octaves = torch.floor(-x * LOG2_E)
    rest = x + octaves / LOG2_E
    return torch.exp2(-octaves) * (IBERT[0] * rest.square() + IBERT[1] * rest + IBERT[2])


def linear_exponential(x: Tensor) -> Tensor:
    """Return exp of ``x`` <= 0 by the chord of each octave."""
    octaves = torch.floor(-x * LOG2_E)
    return torch.exp2(-octaves) * (1 + (x * LOG2_E + octaves) / 2)


def softmax_by(exponential: Callable[[Tensor], Tensor], x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return the softmax with an approximate exponential."""
    powers = exponential(x - x.amax(dim, keepdim=True))
    return powers / powers.sum(dim, keepdim=True)


def integer_norm(norm: Any, *arguments: Any) -> Tensor:
    """Return a norm whose factor per value, weight / deviation, is cut to 8 significant bits (FQ-ViT's integer LayerNorm)."""
    weight, bias = arguments[2:4]
    normalized = norm(*arguments[:2], None, None, *arguments[4:])
    x = arguments[0]
    centred = x - (x.mean(-1, keepdim=True) if norm is aten.layer_norm.default else x.flatten(1).mean(1).view(-1, 1, 1, 1))
    shape = (-1,) if norm is aten.layer_norm.default else (1, -1, 1, 1)
    factor = torch.where(centred == 0, 0, normalized / centred) * weight.view(shape)
    mantissa, exponent = torch.frexp(factor)
    return centred * torch.ldexp(torch.trunc(mantissa * 256) / 256, exponent) + bias.view(shape)


Changed = Callable[[GraphModule, Task, Quantizers], None]


def with_softmax(exponential: Callable[[Tensor], Tensor]) -> Changed:
    """Return the change of a network to a softmax with another exponential."""

    def change(network: GraphModule, task: Task, quantizers: Quantizers) -> None:
        _replace(network, {SOFTMAX: partial(softmax_by, exponential)})

    return change


def with_integer_arithmetic(network: GraphModule, task: Task, quantizers: Quantizers) -> None:
    """Change a network to the arithmetic of FQ-ViT's code in softmax, LayerNorm and GroupNorm of one group."""
    norms = {norm: partial(integer_norm, norm) for norm in (aten.layer_norm.default, aten.group_norm.default)}
    _replace(network, {SOFTMAX: partial(softmax_by, integer_exponential), **norms})


def with_rounded_results(network: GraphModule, task: Task, quantizers: Quantizers) -> None:
    """Round the results that mode full keeps in FP32 and FQ-ViT's code rounds, by the range of each, asymmetric and per tensor."""
    results = [node for node, kind in floating_point_nodes(task.model.graph_module, task.model.sites) if kind in ROUNDED]
    values = FakeQuantInterpreter(task.model.graph_module, (), {}, keep_values=True)
    with torch.no_grad():
        values.run(torch.cat(task.calibration.read_batches()))
    nodes = {node.name: node for node in network.graph.nodes}
    for result in results:
        low, high = values.env[result].aminmax()
        attribute, node = f"rounded_{result.name}", nodes[result.name]
        network.add_submodule(attribute, FakeQuantize(UniformQuantizer.covering(low, high, task.activation_bits, "asymmetric")))
        with network.graph.inserting_after(node):
            rounded = network.graph.call_module(attribute, (node,))
        node.replace_all_uses_with(rounded, delete_user_cb=lambda user, rounded=rounded: user is not rounded)
    network.recompile()


def with_bias_of_fp32_weight(network: GraphModule, task: Task, quantizers: Quantizers) -> None:
    """Let the bias that absorbs the zero points of a norm be computed from the FP32 weight (RepQ-ViT's code)."""
    absorbed = {site.name for layers in repqvit.absorbed_layers(task.model.sites) for site in layers}
    nodes = {node.name: node for node in network.graph.nodes}
    for site in task.model.sites:
        if site.name in absorbed:
            weight, inputs = site_weight(task.model.graph_module, site), quantizers[site.name]["input"]
            assert weight is not None
            assert isinstance(inputs, UniformQuantizer)
            shift = inputs.scale * (inputs.zero_point - inputs.zero_point.mean().round())
            bias = tensor_of(network, nodes[site.node.name].args[2])
            assert bias is not None
            bias.data += F.linear(shift, quantizers[site.name]["weight"].fake_quantize(weight) - weight)


def _replace(network: GraphModule, targets: dict[Any, partial[Tensor]]) -> None:
    for node in network.graph.nodes:
        if node.target in targets:
            replacement = targets[node.target]
            node.target = update_wrapper(replacement, replacement.func)  # code generation asks for a name
    network.recompile()
