"""Full mode: what of softmax, norms, activation functions and additions goes through memory is rounded too, a tensor at a time."""

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

FACTORS = torch.linspace(1.0, 0.11, 90)  # of the range, down by 1 % as FQ-ViT's code does it for OMSE: of equal errors the widest wins


def find_output_quantizers(task: Task) -> Quantizers:
    """The quantizer of every tensor site: asymmetric, as all activations of fully quantized networks are, or log2 after a softmax."""
    return {tensor.name: {"output": _quantizer(task, tensor)} for tensor in task.model.output_sites}


def _quantizer(task: Task, tensor: OutputSite) -> Quantizer:
    found, bits, rule = task.output_statistics[tensor.name], task.activation_bits, task.method.output_scale
    if rule == "ptf" and tensor.kind == "softmax":
        return log2_attention()
    low, high = _range(task.method, found)
    if rule == "ptf" and before_norm(tensor):
        assert tensor.axis is not None
        return power_of_two_factor(found.sample, low, high, bits, tensor.axis)
    factor = _least_squared_error(found.sample, low, high, bits) if rule == "mse" else torch.tensor(1.0)
    return UniformQuantizer(bits, "asymmetric", *saturated_grid(factor * low, factor * high, bits, "asymmetric"))


def _range(method: Method, found: OutputStatistics) -> tuple[Tensor, Tensor]:
    """The range that the quantizer starts from; of FQ-ViT as ported alone it may lie on one side of 0."""
    low, high = found.range.percentile(method.percentile if method.algorithm == "minmax" else 100)
    if method.algorithm == "fqvit" and method.zero_point == "saturated":
        return low, high
    return low.clamp(max=0), high.clamp(min=0)


def _least_squared_error(sample: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    quantizers = (UniformQuantizer.covering(factor * low, factor * high, bits, "asymmetric") for factor in FACTORS)
    errors = torch.stack([(quantizer.fake_quantize(sample) - sample).square().sum() for quantizer in quantizers])
    return FACTORS[errors.argmin()]
