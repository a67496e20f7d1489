"""Full mode: quantizers of the outputs of softmax, norms, activation functions and additions."""

import torch
from torch import Tensor

from qhyvit.calibration.output_samples import OutputStatistics
from qhyvit.config.methods import Method
from qhyvit.graph.output_sites import OutputSite, before_norm
from qhyvit.methods.log2_attention import log2_attention
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.power_of_two import power_of_two_factor
from qhyvit.quantizers.uniform import UniformQuantizer, saturated_grid

# Shares of the range, in steps of 1 % as in FQ-ViT's code for OMSE; of equal errors the widest wins.
CLIP_RATIOS = torch.linspace(1.0, 0.11, 90)


def find_output_quantizers(task: Task) -> Quantizers:
    """Return the quantizer of every output site: asymmetric, or log2 after a softmax if ``output_scale`` is ptf."""
    return {site.name: {"output": _quantizer(task, site)} for site in task.model.output_sites}


def _quantizer(task: Task, site: OutputSite) -> Quantizer:
    statistics, bits, rule = task.output_statistics[site.name], task.activation_bits, task.method.output_scale
    if rule == "ptf" and site.kind == "softmax":
        return log2_attention()
    low, high = _range(task.method, statistics)
    if rule == "ptf" and before_norm(site):
        assert site.axis is not None
        samples, counts = _with_extremes(statistics)
        return power_of_two_factor(samples, low, high, bits, site.axis, counts)
    ratio = _best_clip_ratio(statistics, low, high, bits) if rule == "mse" else torch.tensor(1.0)
    return UniformQuantizer(bits, "asymmetric", *saturated_grid(ratio * low, ratio * high, bits, "asymmetric"))


def _range(method: Method, statistics: OutputStatistics) -> tuple[Tensor, Tensor]:
    """Return the range before clipping; it may lie on one side of 0 only with the saturated zero points of FQ-ViT's code."""
    low, high = statistics.range.percentile(method.percentile if method.algorithm == "minmax" else 100)
    if method.algorithm == "fqvit" and method.zero_point == "saturated":
        return low, high
    return low.clamp(max=0), high.clamp(min=0)


def _with_extremes(statistics: OutputStatistics) -> tuple[Tensor, Tensor]:
    """Return the sample and the extremes of the channels in each batch, which a sample misses [N, C], and how many rows each represents."""
    sample, observed = statistics.sample, statistics.range
    extremes = torch.cat([observed.lows, observed.highs])
    return torch.cat([sample, extremes]), torch.cat([torch.full([len(sample)], observed.count / sample.numel()), torch.ones(len(extremes))])


def _best_clip_ratio(statistics: OutputStatistics, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """Return the ratio with the least squared error: of the exact tails, and of the values between them as the sample has them."""
    sample, observed = statistics.sample, statistics.range
    low_end, high_end = observed.low_tail[-1], observed.high_tail[-1]
    tails = torch.cat([observed.low_tail[observed.low_tail < low_end], observed.high_tail[observed.high_tail > high_end]])
    between = (sample >= low_end) & (sample <= high_end)
    times = between * (observed.count / sample.numel())

    def error(quantizer: UniformQuantizer) -> Tensor:
        of_tails, of_sample = ((quantizer.fake_quantize(x) - x).square() for x in (tails, sample))
        return of_tails.sum(dtype=torch.float64) + (of_sample * times).sum(dtype=torch.float64)

    errors = [error(UniformQuantizer.covering(ratio * low, ratio * high, bits, "asymmetric")) for ratio in CLIP_RATIOS]
    return CLIP_RATIOS[torch.stack(errors).argmin()]
