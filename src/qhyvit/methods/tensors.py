"""Full mode: what of softmax, norms, activation functions and additions goes through memory is rounded too, a tensor at a time."""

import torch
from torch import Tensor

from qhyvit.calibration.capture import TensorStatistics
from qhyvit.graph.tensors import TensorSite, before_norm
from qhyvit.methods.task import Task
from qhyvit.quantizers.power_of_two import power_of_two_factor
from qhyvit.quantizers.store import Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer, fake_quantize, grid_limits, range_to_grid

FACTORS = torch.linspace(0.11, 1.0, 90)  # of the range, down by 1 % as FQ-ViT's code does it for OMSE


def quantize_tensors(task: Task) -> Quantizers:
    """The quantizer of every tensor site, asymmetric as all activations of fully quantized networks are."""
    return {tensor.name: {"output": _quantizer(task, tensor)} for tensor in task.network.tensors}


def _quantizer(task: Task, tensor: TensorSite) -> UniformQuantizer:
    found, bits, rule = task.tensor_statistics[tensor.name], task.activation_bits, task.method.tensors
    low, high = found.range.percentile(task.method.percentile if task.method.algorithm == "ranges" else 100)
    if rule == "power-of-two" and tensor.axis is not None and before_norm(tensor):
        return power_of_two_factor(found.sample, low, high, bits, tensor.axis)
    factor = _least_squared_error(found, bits) if rule == "squared-error" else torch.tensor(1.0)
    return UniformQuantizer(bits, "asymmetric", *range_to_grid(factor * low, factor * high, bits, "asymmetric"))


def _least_squared_error(found: TensorStatistics, bits: int) -> Tensor:
    low, high = found.range.percentile(100)
    limits = grid_limits(bits, "asymmetric")
    grids = (range_to_grid(factor * low, factor * high, bits, "asymmetric") for factor in FACTORS)
    errors = torch.stack([(fake_quantize(found.sample, *grid, *limits) - found.sample).square().sum() for grid in grids])
    return FACTORS[errors.argmin()]
