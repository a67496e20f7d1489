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
    """Return the quantizer of every output site: asymmetric, as in fully quantized networks, or log2 after a softmax."""
    return {site.name: {"output": _quantizer(task, site)} for site in task.model.output_sites}


def _quantizer(task: Task, site: OutputSite) -> Quantizer:
    statistics, bits, rule = task.output_statistics[site.name], task.activation_bits, task.method.output_scale
    if rule == "ptf" and site.kind == "softmax":
        return log2_attention()
    low, high = _range(task.method, statistics)
    if rule == "ptf" and before_norm(site):
        assert site.axis is not None
        return power_of_two_factor(statistics.sample, low, high, bits, site.axis)
    ratio = _best_clip_ratio(statistics.sample, low, high, bits) if rule == "mse" else torch.tensor(1.0)
    return UniformQuantizer(bits, "asymmetric", *saturated_grid(ratio * low, ratio * high, bits, "asymmetric"))


def _range(method: Method, statistics: OutputStatistics) -> tuple[Tensor, Tensor]:
    """Return the range before clipping; it may lie on one side of 0 only with the saturated zero points of FQ-ViT's code."""
    low, high = statistics.range.percentile(method.percentile if method.algorithm == "minmax" else 100)
    if method.algorithm == "fqvit" and method.zero_point == "saturated":
        return low, high
    return low.clamp(max=0), high.clamp(min=0)


def _best_clip_ratio(sample: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    quantizers = (UniformQuantizer.covering(ratio * low, ratio * high, bits, "asymmetric") for ratio in CLIP_RATIOS)
    errors = torch.stack([(quantizer.fake_quantize(sample) - sample).square().sum() for quantizer in quantizers])
    return CLIP_RATIOS[errors.argmin()]
