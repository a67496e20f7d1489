"""RepQ-ViT (Li et al., ICCV 2023, arXiv 2212.08254): percentile ranges, log-sqrt2 attention maps, and norms that take over scales.

Linear layers behind a LayerNorm quantize their input per channel, with scales s_c and zero points z_c. At inference the norm takes this
over: with r1 = s / mean(s) and r2 = z - round(mean(z)) it computes (x + s r2) / r1, which has one grid, and the layer has the weight W r1
and the bias b - W (s r2) (Section 3.2). This equals a per-channel uniform quantizer for x and a rescaled one for W, if the bias is
computed from the quantized weight; the released code uses the FP32 weight there.

A norm can be changed only once for all its readers. Linear layers that are all its readers, e.g. queries, keys and values, therefore
share the quantizer of the first of them. The norm stays unchanged where anything else reads it. So do other norms: the output of a
GroupNorm before a convolution or of a folded BatchNorm is quantized per tensor. On networks without LayerNorm this method is no more than
percentile ranges.

Unlike in the released code, every range is widened to contain 0 and all calibration runs in the FP32 network. Percentiles of a channel are
estimated from the sampled rows. Convolutions have the bits of all other layers, unless `conv_input_bits` gives their inputs others.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import Node

from qhyvit.config.base import Scheme
from qhyvit.config.methods import RepqvitMethod
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.operators import aten
from qhyvit.graph.output_sites import source_of
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import between
from qhyvit.methods.log2_attention import from_softmax
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import SMALLEST_SCALE, UniformQuantizer, fake_quantize, grid_limits, range_to_grid
from qhyvit.search.alternating import alternate
from qhyvit.search.candidates import ListedCandidates
from qhyvit.search.objectives import OBJECTIVES
from qhyvit.search.site_problem import SiteProblem


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site."""
    inputs = {
        site.name: shared for layers in absorbed_layers(task.model.sites) for shared in [_by_channel(task, layers[0])] for site in layers
    }
    return {site.name: _quantize_site(task, site, inputs.get(site.name)) for site in track(task.model.sites, "searching")}


def absorbed_layers(sites: Sequence[Site]) -> list[list[Site]]:
    """Return the layers of each LayerNorm with weight and bias that is read by linear layers only."""
    layers: dict[Node, list[Site]] = defaultdict(list)
    for site in sites:
        source = source_of(site, site.operands[0])
        if site.kind == "linear" and _is_affine_layer_norm(source) and shape_of(site.node.all_input_nodes[0])[-1] == shape_of(source)[-1]:
            layers[source].append(site)
    return [readers for norm, readers in layers.items() if _reads_alone(norm, readers)]


def percentile_grid(values: Tensor, counts: Tensor, percentiles: Sequence[float], bits: int, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Return scale and zero point [C] for the columns of ``values`` [N, C], clipped at the percentile with the least squared error.

    Row n represents ``counts`` [N] rows, which need not be whole numbers.
    """
    grids = [range_to_grid(*_ends(values, counts, percent / 100), bits, scheme) for percent in percentiles]
    limits = grid_limits(bits, scheme)
    errors = torch.stack([(fake_quantize(values, *grid, *limits) - values).square().mul_(counts[:, None]).sum(0) for grid in grids])
    best = errors.argmin(0, keepdim=True)
    scale, zero_point = (torch.stack(choices).gather(0, best)[0] for choices in zip(*grids, strict=True))
    return scale, zero_point


def _ends(values: Tensor, counts: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the values [C] that ``share`` of each column stays above and below, interpolated linearly between neighbours."""
    order = values.argsort(0)
    ordered, behind = values.gather(0, order), counts.double()[order]
    ranks = behind.cumsum(0) - behind / 2  # of the middle of what a row represents
    ranks -= ranks[:1].clone()
    ranks /= ranks[-1:].clamp(min=torch.finfo(torch.float64).tiny)
    low, high = (_interpolate(ordered, ranks, at) for at in (1 - share, share))
    return low, high


def _interpolate(ordered: Tensor, ranks: Tensor, at: float) -> Tensor:
    above = (ranks < at).sum(0, keepdim=True).clamp(max=len(ranks) - 1)
    below = (above - 1).clamp(min=0)
    start, end = ranks.gather(0, below), ranks.gather(0, above)
    part = ((at - start) / (end - start).clamp(min=torch.finfo(torch.float64).tiny)).clamp(0, 1).float()
    return torch.lerp(ordered.gather(0, below), ordered.gather(0, above), part)[0]


def _reads_alone(norm: Node, layers: Sequence[Site]) -> bool:
    ends = {site.node for site in layers}
    paths = between([norm], ends)
    return all(user in paths for node in paths - ends for user in node.users)


def _is_affine_layer_norm(node: Node) -> bool:
    return node.target is aten.layer_norm.default and len(node.args) > 3 and None not in node.args[2:4]


def _by_channel(task: Task, site: Site) -> UniformQuantizer:
    problem, bits, scheme = task.problem(site), task.bits(site, "input"), task.choices(site, "input").scheme[0]
    counts = problem.importance[0, :, 0].square()
    grid = percentile_grid(problem.tensors["input"][0], counts, task.settings(RepqvitMethod).percentiles, bits, scheme)
    return UniformQuantizer(bits, scheme, *grid, axis=site.axis("input"))


def _quantize_site(task: Task, site: Site, by_channel: UniformQuantizer | None) -> dict[str, Quantizer]:
    problem = task.problem(site)
    if by_channel is not None:
        return {"input": by_channel, "weight": _weight(task, problem, by_channel.scale / by_channel.scale.mean())}
    quantizers = {operand: _percentiles(task, problem, operand) for operand in site.operands}
    candidates = {
        operand: [ListedCandidates(problem, operand, OBJECTIVES["mse"], exhaustive=True, quantizers=listed)]
        for operand, listed in quantizers.items()
    }
    return alternate(candidates, rounds=1)


def _weight(task: Task, problem: SiteProblem, channel_rescale: Tensor | None = None) -> UniformQuantizer | RescaledWeightQuantizer:
    assert problem.weight is not None
    weight = (problem.weight if channel_rescale is None else problem.weight * channel_rescale).flatten(1).t()
    bits, scheme = task.bits(problem.site, "weight"), task.choices(problem.site, "weight").scheme[0]
    grid = percentile_grid(weight, torch.ones(len(weight)), task.settings(RepqvitMethod).percentiles, bits, scheme)
    if channel_rescale is None:
        return UniformQuantizer(bits, scheme, *grid, axis=0)
    return RescaledWeightQuantizer(bits, scheme, *grid, channel_rescale)


def _percentiles(task: Task, problem: SiteProblem, operand: str) -> list[Quantizer]:
    """Return the quantizers to choose from."""
    if operand == "weight":
        return [_weight(task, problem)]
    site = problem.site
    bits = task.bits(site, operand)
    scheme = task.choices(site, operand).scheme[0]
    observed = task.statistics[site.name].ranges[operand]
    ends = [observed.percentile(percent) for percent in task.settings(RepqvitMethod).percentiles]
    if site.kind == "matmul" and from_softmax(site, operand):
        return [LogQuantizer(bits, 2, high.clamp(min=SMALLEST_SCALE)) for _, high in ends]
    return [UniformQuantizer.covering(low, high, bits, scheme) for low, high in ends]
