"""Targets: quantizers that the integer kernels of an engine execute as simulated, one YAML file each, with the source of every fact."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from qhyvit.config.base import Strict

TargetName = Literal["openvino-cpu", "openvino-cpu-avx2", "onnxruntime-cpu"]
SiteClass = Literal["depthwise_conv", "depthwise_multiplier_conv", "grouped_conv", "dense_conv", "linear", "matmul"]


class OperandLimits(Strict):
    """Grids that integer kernels execute for one operand of one class of sites."""

    granularity: list[Literal["per_tensor", "rescaled", "per_channel"]] = Field(
        min_length=1,
        description="per_channel: a scale and a zero point per channel; rescaled: a scale per channel and one zero point, where the weight"
        " has taken over the scales before it is quantized; per_tensor: one of each",
    )
    scheme: list[Literal["symmetric", "unsigned", "asymmetric"]] = Field(
        min_length=1,
        description="symmetric: signed integers with zero point 0, or unsigned ones of one bit less with any; unsigned: unsigned ones"
        " with zero point 0; asymmetric: unsigned ones with any zero point",
    )
    bits: int = Field(ge=2, le=8, description="largest number of bits")


class LayerLimits(Strict):
    """Limits of the operands of convolutions or linear layers."""

    input: OperandLimits
    weight: OperandLimits


class ProductLimits(Strict):
    """Limits of the operands of products of two activations."""

    left: OperandLimits
    right: OperandLimits


class Target(Strict):
    """Limits of every class of sites.

    A depthwise convolution has one input channel per group, with a multiplier if it has several output channels per group; a dense
    convolution has one group.
    """

    name: TargetName
    depthwise_conv: LayerLimits
    depthwise_multiplier_conv: LayerLimits
    grouped_conv: LayerLimits
    dense_conv: LayerLimits
    linear: LayerLimits
    matmul: ProductLimits

    def operands(self, site_class: SiteClass) -> list[str]:
        """Return the operands of a class of sites: input and weight, or left and right."""
        return [*type(getattr(self, site_class)).model_fields]

    def limits(self, site_class: SiteClass, operand: str) -> OperandLimits:
        """Return the limits of an operand: input, weight, left or right."""
        limits: OperandLimits = getattr(getattr(self, site_class), operand)
        return limits


@cache
def load_target(name: TargetName) -> Target:
    """Load the target ``name``, such as "openvino-cpu"."""
    return Target.model_validate(yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text()))
