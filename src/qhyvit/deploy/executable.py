"""Check of quantizers against a target: whether its integer kernels execute them as simulated."""

from collections.abc import Mapping

import torch
from torch import Tensor

from qhyvit.config.targets import OperandLimits, Target
from qhyvit.errors import InputError
from qhyvit.graph.sites import Site
from qhyvit.graph.traced_model import TracedModel
from qhyvit.presets import methods_for
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

Grid = UniformQuantizer | RescaledWeightQuantizer


def require_executable(model: TracedModel, quantizers: Quantizers, target: Target) -> None:
    """Raise InputError, with site, reason and a method that serves, unless the target executes the quantizers of all sites as simulated."""
    for site in model.sites:
        reason = obstacle(site, quantizers.get(site.name, {}), target)
        if reason:
            methods = " or ".join(methods_for(target.name))
            raise InputError(f"site {site.name}: {reason}; quantize with {methods}")


def obstacle(site: Site, operands: Mapping[str, Quantizer], target: Target) -> str | None:
    """Return why the target cannot execute the quantizers of a site as simulated, or None if it can."""
    for operand in site.operands:
        limits, quantizer = target.limits(site.site_class, operand), operands.get(operand)
        if not isinstance(quantizer, Grid):
            return f"its {operand} has {f'a {quantizer.describe()} grid' if quantizer else 'no quantizer'}, not a uniform one"
        found = granularity(site, operands, operand), *integers(quantizer)
        if not _allows(limits, *found):
            return (
                f"its {operand} has a {found[0]} {found[1]} grid of {found[2]} bits; for the {operand} of a {site.site_class} {target.name}"
                f" executes {' or '.join(limits.granularity)} and {' or '.join(limits.scheme)} ones of at most {limits.bits} bits"
            )
    return None


def granularity(site: Site, operands: Mapping[str, Quantizer], operand: str) -> str:
    """Return the granularity of an operand in the words of `OperandLimits`.

    A rescaled weight whose input does not have its scales cannot be executed, and counts as per input channel.
    """
    quantizer = operands[operand]
    if isinstance(quantizer, RescaledWeightQuantizer):
        return "rescaled" if _shares_scales(operands["input"], quantizer.channel_rescale) else "per_input_channel"
    if not isinstance(quantizer, UniformQuantizer) or quantizer.axis is None:
        return "per_tensor"
    if operand == "input":
        weight = operands.get("weight")
        factors = weight.channel_rescale if isinstance(weight, RescaledWeightQuantizer) else quantizer.scale
        absorbed = isinstance(weight, RescaledWeightQuantizer) or site.depthwise
        return "rescaled" if absorbed and _shares_scales(quantizer, factors) else "per_channel"
    return "per_channel"


def integers(quantizer: Grid) -> tuple[str, int]:
    """Return the scheme of a grid in the words of `OperandLimits`, and its bits.

    Less their zero point, integers of b < 8 bits are signed ones of b + 1 bits.
    """
    if quantizer.scheme == "symmetric" or not quantizer.zero_point.any():
        return "symmetric" if quantizer.scheme == "symmetric" else "unsigned", quantizer.bits
    return ("symmetric", quantizer.bits + 1) if quantizer.bits < 8 else ("asymmetric", 8)


def _shares_scales(quantizer: Quantizer, factors: Tensor) -> bool:
    """Tell if the scales are ``factors`` [C] times one number, and all zero points are equal."""
    if not isinstance(quantizer, UniformQuantizer):
        return False
    ratio = quantizer.scale / factors
    return bool(torch.isclose(ratio, ratio.mean(), rtol=1e-5, atol=0).all()) and quantizer.zero_point.unique().numel() == 1


def _allows(limits: OperandLimits, granularity: str, scheme: str, bits: int) -> bool:
    return granularity in limits.granularity and scheme in limits.scheme and bits <= limits.bits
