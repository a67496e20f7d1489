"""Measure zero-point overflow, the second challenge of Q-HyViT (arXiv 2303.12557, Section III): the cost of a zero point off the grid.

A textbook asymmetric grid covers [low, high] with scale (high - low) / (2^b - 1) and zero point round(-low / scale). Where the range
lies on one side of 0, that zero point lies outside [0, 2^b - 1]. An integer kernel has no room for it; clipped, it shifts every value.
"""

from typing import Literal

import torch
from torch import Tensor

from qhyvit.quantizers.uniform import SMALLEST_SCALE, UniformQuantizer, grid_limits, range_to_grid, saturated_grid
from qhyvit.search.site_problem import SiteProblem

BITS = 8


def textbook_grid(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and unclipped zero point, of the shape of ``low`` and ``high``, of the grid that just covers [low, high]."""
    qmin, qmax = grid_limits(BITS, "asymmetric")
    scale = ((high - low) / (qmax - qmin)).clamp(min=SMALLEST_SCALE)
    return scale, torch.round(-low / scale)


def overflows(low: Tensor, high: Tensor) -> Tensor:
    """Tell where the textbook zero point is outside the grid: booleans of the shape of ``low`` and ``high``."""
    _, zero_point = textbook_grid(low, high)
    return zero_point != zero_point.clamp(*grid_limits(BITS, "asymmetric"))


def overflow_errors(problem: SiteProblem, operand: str, granularity: Literal["per_tensor", "per_channel"]) -> tuple[float, float]:
    """Return the relative squared errors of an operand's sampled rows with clipped zero points, and with ranges widened to contain 0."""
    low, high = problem.range(operand, granularity)
    clipped, widened = (to_grid(low, high, BITS, "asymmetric") for to_grid in (saturated_grid, range_to_grid))
    return _relative_error(problem, operand, *clipped), _relative_error(problem, operand, *widened)


def _relative_error(problem: SiteProblem, operand: str, scale: Tensor, zero_point: Tensor) -> float:
    """Return sum((x_hat - x)^2) / sum(x^2) over the sampled rows x; 0 if all are 0."""
    axis = problem.site.axis(operand) if scale.ndim else None
    x = problem.tensors[operand]
    rounded = problem.quantized(operand, UniformQuantizer(BITS, "asymmetric", scale, zero_point, axis))
    energy = float(x.square().sum())
    return float((rounded - x).square().sum()) / energy if energy else 0.0
