"""Search problem of a dense layer whose weight takes over the scales of the input's channels before it is quantized.

The input x_c / r_c has one grid, and the weight W_c r_c one per output channel. In the units of x and W these are quantizers per input
channel and a rescaled one. SmoothQuant (Xiao et al., ICML 2023, arXiv 2211.10438, Eq. 4) sets r_c = max|x_c|^a / max|W_c|^(1 - a).
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.site_problem import SiteProblem

SMALLEST_SHARE = 2**-8  # of the widest channel's range: a channel that is narrower, or silent, may be wider on other images


def channel_factors(problem: SiteProblem, strength: float) -> Tensor:
    """Return factors r [C] of the input channels of a dense layer: (range / geometric mean of the ranges)^``strength``."""
    low, high = problem.range("input", "per_channel")
    widths = high.clamp(min=0) - low.clamp(max=0)
    logarithms = widths.clamp(min=SMALLEST_SHARE * float(widths.max()) or 1.0).log()
    return ((logarithms - logarithms.mean()) * strength).exp()


def rescaled(problem: SiteProblem, factors: Tensor) -> SiteProblem:
    """Return the problem of a dense layer with the input x_c / r_c and the weight W_c r_c, for ``factors`` r [C]. The product stays."""
    assert problem.weight is not None
    weight = problem.weight * factors.view(-1, *[1] * (problem.weight.ndim - 2))
    by_row = factors.repeat_interleave(problem.weight[0, 0].numel())  # an input channel has the kernel's pixels next to each other
    observed = problem.observed["input"]
    return problem.with_rows(
        reference=problem.reference,
        weight=weight,
        tensors={"input": problem.tensors["input"] / by_row, "weight": problem.layout.weight_rows(weight, problem.outputs)},
        channel_ranges={
            "input": tuple(bound / factors for bound in problem.channel_ranges["input"]),
            "weight": (weight.flatten(1).amin(1), weight.flatten(1).amax(1)),
        },
        observed={"input": replace(observed, lows=observed.lows / factors, highs=observed.highs / factors)},
    )


def in_original_units(problem: SiteProblem, quantizers: Mapping[str, Quantizer], factors: Tensor) -> dict[str, Quantizer]:
    """Return the quantizers of x and W in the original ``problem``, given those of x_c / r_c, per tensor, and of W_c r_c.

    That of W has a scale per output channel; they are equal where the given one is per tensor.
    """
    assert problem.weight is not None
    inputs, weight = quantizers["input"], quantizers["weight"]
    assert isinstance(inputs, UniformQuantizer)
    assert isinstance(weight, UniformQuantizer)
    scale, zero_point = (value.expand(len(problem.weight)).clone() for value in (weight.scale, weight.zero_point))
    axis = problem.site.axis("input")
    return {
        "input": UniformQuantizer(inputs.bits, inputs.scheme, inputs.scale * factors, inputs.zero_point.expand_as(factors).clone(), axis),
        "weight": RescaledWeightQuantizer(weight.bits, weight.scheme, scale, zero_point, factors),
    }
