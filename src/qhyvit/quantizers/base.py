"""Interface of all quantizers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor


class Quantizer(ABC):
    """A map of real values to integers of ``bits`` bits and back. Every kind is a frozen dataclass, whose fields are its parameters.

    Only `FloatingPoint` has no integers.
    """

    bits: int

    @abstractmethod
    def describe(self) -> str:
        """Name the kind in a few words, as tables show it."""

    @abstractmethod
    def quantize(self, x: Tensor) -> Tensor:
        """Return the integers that represent ``x``, as floats of the same shape."""

    @abstractmethod
    def dequantize(self, q: Tensor) -> Tensor:
        """Return the real values that the integers ``q`` represent. Raises ValueError for a value that is no integer of the grid."""

    @abstractmethod
    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return dequantize(quantize(x))."""


Quantizers = Mapping[str, Mapping[str, Quantizer]]  # site -> operand -> quantizer
NO_QUANTIZERS: Quantizers = MappingProxyType({})
Parameters = Mapping[str, Tensor]  # new values of parameters of a network, by their names in its graph
NO_PARAMETERS: Parameters = MappingProxyType({})


def parameters(quantizer: Quantizer) -> dict[str, Any]:
    """Return the fields of a quantizer by name: tensors, numbers and words."""
    return {field.name: getattr(quantizer, field.name) for field in fields(quantizer)}  # type: ignore[arg-type]


def on_device(quantizers: Quantizers, device: str) -> Quantizers:
    """Return copies of the quantizers with their tensors on ``device``."""

    def moved(quantizer: Quantizer) -> Quantizer:
        tensors = {name: value.to(device) for name, value in parameters(quantizer).items() if isinstance(value, Tensor)}
        return replace(quantizer, **tensors)  # type: ignore[type-var]

    return {site: {name: moved(quantizer) for name, quantizer in operands.items()} for site, operands in quantizers.items()}


def parameters_on_device(parameters: Parameters, device: str) -> Parameters:
    """Return copies of the parameters on ``device``."""
    return {name: value.to(device) for name, value in parameters.items()}


def same_quantizer(one: Quantizer, other: Quantizer) -> bool:
    """Tell if two quantizers are of one kind and have equal parameters."""
    if type(one) is not type(other):
        return False
    pairs = zip(parameters(one).values(), parameters(other).values(), strict=True)
    return all(torch.equal(*pair) if isinstance(pair[0], Tensor) else pair[0] == pair[1] for pair in pairs)
