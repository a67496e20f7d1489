"""Networks with quantizers of known kinds, for tests of the export."""

import torch
from small_network import small_network
from torch import Tensor

from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.sites import site_weight
from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def small_traced() -> TracedModel:
    """A network with a site of each kind: dense and depthwise convolutions, linear layers, and products of two activations."""
    return small_network().traced


def quantizers_of(model: TracedModel, images: Tensor, weight_bits: int, activation_bits: int, *, rescaled: bool = False) -> Quantizers:
    """Full ranges over ``images``: a scale per channel for depthwise convolutions, and with ``rescaled`` for all other inputs too."""
    interpreter = FakeQuantInterpreter(model.graph_module, model.sites, {}, keep_values=True)
    with torch.no_grad():
        interpreter.run(images)
    found: dict[str, dict[str, Quantizer]] = {}
    for site in model.sites:
        values = {name: interpreter.env[node] for name, node in zip(site.operands, site.operand_nodes, strict=True) if name != "weight"}
        if site.kind == "matmul":
            scheme = "symmetric" if activation_bits == 8 else "asymmetric"
            found[site.name] = {name: covering(value, activation_bits, scheme) for name, value in values.items()}
            continue
        weight, axis = site_weight(model.graph_module, site), 1 if site.kind == "conv" else -1
        operands: dict[str, Quantizer] = {
            "input": covering(values["input"], activation_bits, "asymmetric", axis if site.groups > 1 or rescaled else None),
            "weight": covering(weight, weight_bits, "symmetric", 0),
        }
        if rescaled and site.groups == 1:
            factors = operands["input"].scale / operands["input"].scale.mean()
            uniform = covering(weight * factors.view(-1, *[1] * (weight.ndim - 2)), weight_bits, "symmetric", 0)
            operands["weight"] = RescaledWeightQuantizer(weight_bits, "symmetric", uniform.scale, uniform.zero_point, factors)
        found[site.name] = operands
    return found


def covering(values: Tensor, bits: int, scheme: str, axis: int | None = None) -> UniformQuantizer:
    """The quantizer of the full range of ``values``."""
    ranges = values.flatten()[None] if axis is None else values.movedim(axis, 0).flatten(1)
    low, high = ranges.amin(1), ranges.amax(1)
    return UniformQuantizer.covering(low if axis is not None else low[0], high if axis is not None else high[0], bits, scheme, axis)
