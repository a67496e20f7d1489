"""Fold BatchNorm into the convolution or linear layer before it, in the graph."""

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_weights

from qhyvit.errors import InputError
from qhyvit.graph.nodes import shape_of, tensor_of
from qhyvit.graph.operators import CHANNEL_AXIS_FROM_END, aten
from qhyvit.graph.random_input import random_like

TOLERANCE = 1e-3  # of the largest logit: folding rounds weights once more


def fold_and_check(graph_module: GraphModule, example: Tensor) -> int:
    """Fold as `fold_batch_norm`, and compare the graph before and after it on a random image of the shape of ``example`` [B, C, H, W].

    Raises InputError if they differ.
    """
    image = random_like(example)
    with torch.no_grad():
        expected = graph_module(image)
        folded = fold_batch_norm(graph_module)
        found = graph_module(image) if folded else expected
    if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max())):
        said = f"its {folded} BatchNorms change the logits by {float((found - expected).abs().max()):.3g} when they are folded into weights"
        raise InputError(f"{said}; check their running variances for values near zero")
    return folded


def fold_batch_norm(graph_module: GraphModule) -> int:
    """Fold every BatchNorm over the channels of a convolution or linear layer that nothing else reads; return how many were folded."""
    folded = 0
    for node in list(graph_module.graph.nodes):
        if node.target is aten.batch_norm.default and _is_foldable(node):
            _fold(graph_module, node.args[0], node)
            folded += 1
    graph_module.graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return folded


def _is_foldable(norm: Node) -> bool:
    """Tell if the norm, whose channels are axis 1, follows a layer with fixed weights and the same channels, and uses fixed statistics."""
    layer, *parameters, training = norm.args[:6]
    if not isinstance(layer, Node) or layer.target not in CHANNEL_AXIS_FROM_END or len(layer.users) > 1:
        return False
    has_channels_at_1 = len(shape_of(layer)) == 1 + CHANNEL_AXIS_FROM_END[layer.target]
    fixed = [*layer.args[1:3], *parameters]
    has_statistics = parameters[2] is not None and parameters[3] is not None
    is_fixed = has_statistics and not training and all(node is None or (isinstance(node, Node) and node.op == "get_attr") for node in fixed)
    return has_channels_at_1 and is_fixed


def _fold(graph_module: GraphModule, layer: Node, norm: Node) -> None:
    x, *parameters = layer.args[:3]
    weight, bias = (tensor_of(graph_module, node) for node in (*parameters, *[None] * (2 - len(parameters))))
    gamma, beta, mean, variance = (tensor_of(graph_module, node) for node in norm.args[1:5])
    folded = fuse_conv_bn_weights(weight, bias, mean, variance, norm.args[7], gamma, beta)  # type: ignore[arg-type]
    nodes = []
    for kind, tensor in zip(("weight", "bias"), folded, strict=True):
        name = f"{layer.name}_folded_{kind}"
        graph_module.register_parameter(name, nn.Parameter(tensor.detach(), requires_grad=False))
        with graph_module.graph.inserting_before(layer):
            nodes.append(graph_module.graph.get_attr(name))
        nodes[-1].meta["val"] = tensor
    layer.args = (x, *nodes, *layer.args[3:])
    norm.replace_all_uses_with(layer)
    graph_module.graph.erase_node(norm)
