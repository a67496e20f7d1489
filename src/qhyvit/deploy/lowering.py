"""Lower a quantized model to what inference engines compute: standard fake-quantize operators, and weights that have absorbed scales.

The scales s r_c of the channels of an input are absorbed where its layer allows it: the graph rounds x / r_c with the scale s, and the
layer has the weight W r_c. A depthwise convolution always allows it; any other layer if its weight was quantized so
(`RescaledWeightQuantizer`).
"""

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.deploy.constant_sites import constant_values
from qhyvit.deploy.grids import SIGNED, EngineGrid, engine_grid
from qhyvit.deploy.writer import Writer
from qhyvit.errors import InputError
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.operators import aten
from qhyvit.graph.output_sites import OutputSite, find_output_sites
from qhyvit.graph.sites import Site, find_sites, site_bias, site_weight
from qhyvit.graph.traced_model import TracedModel
from qhyvit.presets import methods_for
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.floating_point import FloatingPoint
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

# How a site is written; all four compute the same. "integer": operands on integer grids. "shifted": the input's grid has no zero points,
# the bias makes up for them, and the zeros of the padding are part of the input. "convolution": as "integer", but a linear layer on one
# vector per image is a convolution of one pixel. "float": rounded values, multiplied in floating point.
Form = Literal["integer", "shifted", "convolution", "float"]
FORMS: tuple[Form, ...] = ("integer", "shifted", "convolution", "float")
ALL_INTEGER: Mapping[str, Form] = MappingProxyType({})
NO_CONSTANTS: Mapping[str, Tensor] = MappingProxyType({})
ROUNDING = 1e-5  # largest relative difference of scales that are meant to be equal


def lower(model: TracedModel, quantizers: Quantizers, example: Tensor, forms: Mapping[str, Form] = ALL_INTEGER) -> GraphModule:
    """Return a copy of the graph in which each site that ``quantizers`` names has its form of ``forms``, or else "integer".

    A site that ``forms`` alone names has FP32 operands. One that depends on nothing but the number of images, that of ``example``
    [B, C, H, W], is replaced by its result.
    Raises InputError for quantizers that no grid of 256 integers holds, and for weights or scales that are not finite.
    """
    lowered = deepcopy(model.graph_module)
    sites, output_sites = find_sites(lowered), find_output_sites(lowered)
    constants = constant_values(model, quantizers, example)
    for site in sites:
        if site.node.name in constants:
            result = constants[site.node.name]
            constants[_replace(lowered, site, result).name] = result
        elif site.name in quantizers or site.name in forms:
            lower_site(lowered, site, quantizers.get(site.name, {}), forms.get(site.name, "integer"), constants)
    for output_site in output_sites:
        if output_site.name in quantizers:
            _lower_output(lowered, output_site, quantizers[output_site.name]["output"])
    _keep_axes_of_means(lowered)
    lowered.graph.eliminate_dead_code()
    lowered.recompile()
    return lowered


def lower_site(
    graph_module: GraphModule, site: Site, operands: Mapping[str, Quantizer], form: Form, constants: Mapping[str, Tensor] = NO_CONSTANTS
) -> None:
    """Round the operands of a site of the graph, in place; in floating point too if only one of them is rounded.

    ``constants`` has the values of operands that no image reaches, by the names of their nodes.
    """
    source = site.operand_nodes[0]
    rounded = {name: quantizer for name, quantizer in operands.items() if not isinstance(quantizer, FloatingPoint)}
    for name, quantizer in rounded.items():
        _check(site, name, quantizer)
    if form == "float" or len(rounded) < 2:
        _lower_in_float(graph_module, site, rounded)
    elif site.kind == "matmul":
        _lower_product(graph_module, site, rounded, constants)
    else:
        _lower_layer(graph_module, site, _uniform(site, "input", rounded["input"]), rounded["weight"], form)
    if form == "convolution" and site.kind == "linear" and len(shape_of(source)) == 2:
        _convolve(graph_module, site, source)


def _lower_product(graph_module: GraphModule, site: Site, operands: Mapping[str, Quantizer], constants: Mapping[str, Tensor]) -> None:
    """Round both operands of a matrix product.

    Where one has a zero point, OpenVINO multiplies in floating point, and overwrites the integers of an operand that is a constant.
    """
    grids = [engine_grid(_uniform(site, name, operands[name]), prefer_signed=True) for name in site.operands]
    in_float = any(bool(grid.zero_point.any()) for grid in grids)
    for position, (name, source, grid) in enumerate(zip(site.operands, site.operand_nodes, grids, strict=True)):
        writer = Writer(graph_module, site.node, f"{site.node.name}_{name}")
        if in_float and source.name in constants:
            rounded = writer.constant("rounded", operands[name].fake_quantize(constants[source.name]))
        else:
            rounded = writer.on_grid(source, grid, len(shape_of(source)))
        site.node.update_arg(position, rounded)


def _replace(graph_module: GraphModule, site: Site, result: Tensor) -> Node:
    constant = Writer(graph_module, site.node, site.node.name).constant("result", result)
    constant.meta.update(site.node.meta)
    site.node.replace_all_uses_with(constant)
    return constant


def _lower_in_float(graph_module: GraphModule, site: Site, operands: Mapping[str, Quantizer]) -> None:
    """Round the operands so that engines, which multiply integers only where both operands are on grids, multiply in floating point."""
    for position, name in enumerate(site.operands):
        if name not in operands:
            continue
        source = site.operand_nodes[position]
        writer = Writer(graph_module, site.node, f"{site.node.name}_{name}")
        if name == "weight":
            replacement = writer.constant("rounded", operands[name].fake_quantize(_weight(graph_module, site)))
        else:
            write = writer.without_grid if name == "right" else writer.on_grid
            replacement = write(source, engine_grid(_uniform(site, name, operands[name])), len(shape_of(source)))
        site.node.update_arg(position, replacement)


def _lower_output(graph_module: GraphModule, site: OutputSite, quantizer: Quantizer) -> None:
    """Round the result of a node for all its readers, in place.

    Below 8 bits on no grid of the engine: OpenVINO moves a later clamp to the integers of such a grid, and loses its outermost ones.
    """
    if isinstance(quantizer, FloatingPoint):
        return
    _check(site, "output", quantizer)
    readers = list(site.node.users)
    writer = Writer(graph_module, site.node.next, f"{site.node.name}_output")
    grid = engine_grid(_uniform(site, "output", quantizer))
    write = writer.without_grid if grid.clamps else writer.on_grid
    rounded = write(site.node, grid, len(shape_of(site.node)))
    for reader in readers:
        reader.replace_input_with(site.node, rounded)


def _keep_axes_of_means(graph_module: GraphModule) -> None:
    """Remove the axes of a mean after it: OpenVINO fuses factors per channel and rounding into it, and mixes up the axes otherwise."""
    for node in graph_module.graph.find_nodes(op="call_function", target=aten.mean.dim):
        readers, (source, axes, *keep) = list(node.users), node.args
        if axes and not any(keep):
            ndim = len(shape_of(node)) + len(axes)
            node.args = (source, axes, True)
            writer, removed = Writer(graph_module, node.next, node.name), node
            for axis in sorted((axis % ndim for axis in axes), reverse=True):  # the exporter to ONNX lacks several at once
                removed = writer.call(aten.squeeze.dim, removed, axis)
            for reader in readers:
                reader.replace_input_with(node, removed)


def _lower_layer(graph_module: GraphModule, site: Site, quantizer: UniformQuantizer, weights: Quantizer, form: Form) -> None:
    """Round the input and the weight of a convolution or linear layer to integers."""
    source, weight = site.operand_nodes[0], _weight(graph_module, site)
    ndim, writer = len(shape_of(source)), Writer(graph_module, site.node, site.node.name)
    integers, scale = _integers(site, weight, weights)
    grid, depthwise = engine_grid(quantizer), site.depthwise
    moved = None
    if grid.zero_point.any() and (form == "shifted" or (grid.has_several_zero_points and not depthwise)):
        if site.kind == "conv":
            source = _pad(writer, site, source)
        moved = (grid.zero_point - 128) * grid.scale  # of the input, in its own units
        _compensate(writer, site, weights.fake_quantize(weight), -moved)
        grid = grid.signed()
    factors = _factors(site, grid, weights, depthwise)
    if factors is not None and not grid.has_several_zero_points:
        one_scale = (grid.scale / factors).mean()
        factors = grid.scale / one_scale
        source = writer.call(aten.mul.Tensor, source, writer.per_channel("factors", 1 / factors, grid.axis, ndim))
        grid, moved = grid.with_one_scale(one_scale), moved if moved is None else moved / factors
        if depthwise:
            scale = scale * factors.repeat_interleave(len(scale) // len(factors))
    if moved is not None:
        source = writer.call(aten.add.Tensor, source, writer.per_channel("moved", moved, grid.axis, ndim))
    site.node.update_arg(0, writer.on_grid(source, grid, ndim))
    site.node.update_arg(1, writer.weight(integers, scale))


def _convolve(graph_module: GraphModule, site: Site, source: Node) -> None:
    """Replace a linear layer, whose input was ``source`` [B, inputs], by a convolution of maps [B, inputs, 1, 1]."""
    inputs, outputs = shape_of(source)[1], shape_of(site.node)[1]
    writer = Writer(graph_module, site.node, site.node.name)
    rows, weight, *bias = site.node.args
    maps = writer.call(aten.reshape.default, rows, [-1, inputs, 1, 1])
    kernels = writer.call(aten.reshape.default, weight, [outputs, inputs, 1, 1])
    rows = writer.call(aten.reshape.default, writer.call(aten.conv2d.default, maps, kernels, *bias), [-1, outputs])
    rows.meta.update(site.node.meta)
    site.node.replace_all_uses_with(rows)


def _factors(site: Site, grid: EngineGrid, weights: Quantizer, depthwise: bool) -> Tensor | None:
    """Return the factors [C] of the input's channels that the weight absorbs; None if the scales of all channels are equal."""
    if isinstance(weights, RescaledWeightQuantizer):
        factors = weights.channel_rescale
        if grid.axis is None and bool((factors == 1).all()):
            return None
    elif depthwise:
        factors = grid.scale
    else:
        factors = torch.ones_like(grid.scale)
    common = grid.scale / factors
    if bool(((common / common.mean() - 1).abs() > ROUNDING).any()):
        said = "its input has several scales, which its weight was not quantized to absorb"
        raise InputError(f"{site.name}: {said}; {_advice()}")
    return None if grid.axis is None else factors


def _integers(site: Site, weight: Tensor, quantizer: Quantizer) -> tuple[Tensor, Tensor]:
    """Return the integers of a weight without zero points, and the scale [O] of its output channels."""
    if not isinstance(quantizer, UniformQuantizer | RescaledWeightQuantizer):
        raise _no_grid(site, "weight", quantizer)
    zero_point = quantizer.zero_point.expand(len(weight)).view(-1, *[1] * (weight.ndim - 1))
    integers = quantizer.quantize(weight) - zero_point
    if bool((integers < SIGNED[0]).any() or (integers > SIGNED[1]).any()):
        raise InputError(f"{site.name}: its 8-bit weight has zero points, which no engine has; {_advice()}")
    return integers, quantizer.scale.expand(len(weight)).contiguous()


def _pad(writer: Writer, site: Site, source: Node) -> Node:
    """Write the zeros around the input of a convolution, which then pads no more."""
    arguments: list[Any] = [*site.node.args, *(None, [1, 1], [0, 0], [1, 1], 1)[len(site.node.args) - 2 :]]
    rows, columns = arguments[4] if len(arguments[4]) == 2 else arguments[4] * 2
    if rows == columns == 0:
        return source
    arguments[4] = [0, 0]
    site.node.args = tuple(arguments)
    return writer.call(aten.constant_pad_nd.default, source, [columns, columns, rows, rows], 0.0)


def _compensate(writer: Writer, site: Site, weight: Tensor, offset: Tensor) -> None:
    """Add to the bias what a layer makes of an ``offset`` of all its inputs, [] or [C]."""
    if site.kind == "linear":
        added = weight.double() @ offset.double().expand(weight.shape[1])
    else:
        constant = offset.double().expand(weight.shape[1] * site.groups).view(1, -1, 1, 1).expand(-1, -1, *weight.shape[2:])
        added = F.conv2d(constant, weight.double(), groups=site.groups).flatten()
    bias = site_bias(writer.graph_module, site)
    total = added if bias is None else added + bias.double()
    site.node.args = (*site.node.args[:2], writer.constant("bias", total.float()), *site.node.args[3:])


def _weight(graph_module: GraphModule, site: Site) -> Tensor:
    weight = site_weight(graph_module, site)
    assert weight is not None
    if not bool(weight.isfinite().all()):
        raise InputError(f"{site.name}: its weight has values that are not finite; check the weights of the network")
    return weight


def _uniform(site: Site | OutputSite, operand: str, quantizer: Quantizer) -> UniformQuantizer:
    if not isinstance(quantizer, UniformQuantizer):
        raise _no_grid(site, operand, quantizer)
    if isinstance(site, Site) and site.kind == "matmul" and quantizer.axis is not None:
        raise InputError(f"{site.name}: its operand {operand} has a scale per head, which no engine has; {_advice()}")
    return quantizer


def _check(site: Site | OutputSite, operand: str, quantizer: Quantizer) -> None:
    scale = getattr(quantizer, "scale", None)
    if isinstance(scale, Tensor) and not bool((scale.isfinite() & (scale > 0)).all()):
        raise InputError(f"{site.name}: a scale of its {operand} is not a positive number; quantize the network again")


def _no_grid(site: Site | OutputSite, operand: str, quantizer: Quantizer) -> InputError:
    said = f"its {operand} has a {quantizer.describe()} quantizer, which no integers of equal steps represent"
    return InputError(f"{site.name}: {said}; {_advice()}")


def _advice() -> str:
    return f"quantize with {' or '.join(methods_for('openvino-cpu'))}"
