"""Fold BatchNorm into the convolution or linear layer before it, in the graph."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_weights

from qhyvit.errors import InputError
from qhyvit.graph.moves import move
from qhyvit.graph.nodes import moves_data, shape_of, tensor_of
from qhyvit.graph.operators import CHANNEL_AXIS_FROM_END, SHAPE_READERS, aten
from qhyvit.graph.random_input import random_like

TOLERANCE = 1e-3  # of the largest logit: folding rounds weights once more
ROUNDING = 1 + 2**-20  # of the images, which changes the logits of some networks with random weights beyond recognition


def fold_and_check(graph_module: GraphModule, example: Tensor) -> int:
    """Fold as `fold_batch_norm`, and compare the graph before and after it on a random image of the shape of ``example`` [B, C, H, W].

    Raises InputError if they differ, unless an image that was rounded differently would change the logits as well.
    """
    image = random_like(example)
    with torch.no_grad():
        expected = graph_module(image)
        folded = fold_batch_norm(graph_module)
        found = graph_module(image) if folded else expected
        differs = not _close(found, expected) and _close(graph_module(image * ROUNDING), found)
    if differs:
        said = f"its {folded} BatchNorms change the logits by {float((found - expected).abs().max()):.3g} when they are folded into weights"
        raise InputError(f"{said}; check their running variances for values near zero")
    return folded


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max()))


def fold_batch_norm(graph_module: GraphModule) -> int:
    """Fold every BatchNorm over the channels of a convolution or linear layer that nothing else reads; return how many were folded."""
    folded = 0
    for node in list(graph_module.graph.nodes):
        layer = _layer_of(graph_module, node) if node.target is aten.batch_norm.default else None
        if layer:
            _fold(graph_module, layer, node)
            folded += 1
    graph_module.graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return folded


def _layer_of(graph_module: GraphModule, norm: Node) -> Node | None:
    """Return the layer with fixed weights whose channels the norm scales by fixed statistics, if nothing else reads its values.

    The norm's channels are axis 1. Operators between, which only move data, may have moved those of the layer there.
    """
    source, *parameters, training = norm.args[:6]
    assert isinstance(source, Node)
    path = [source]
    while moves_data(path[-1]):
        path.append(path[-1].all_input_nodes[0])
    *moves, layer = path
    if layer.target not in CHANNEL_AXIS_FROM_END or any(len(_readers(node)) > 1 for node in path):
        return None
    fixed = [*layer.args[1:3], *parameters]
    has_statistics = parameters[2] is not None and parameters[3] is not None
    is_fixed = has_statistics and not training and all(node is None or (isinstance(node, Node) and node.op == "get_attr") for node in fixed)
    return layer if is_fixed and _keep_channels(graph_module, layer, moves) else None


def _readers(node: Node) -> list[Node]:
    """Return the nodes that read the values of the node's tensor, not its shape alone."""
    return [user for user in node.users if user.target not in SHAPE_READERS or node in user.args[: SHAPE_READERS[user.target]]]


def _keep_channels(graph_module: GraphModule, layer: Node, moves: Sequence[Node]) -> bool:
    """Tell if all channels of the layer, after the moves, the last of which comes first, are axis 1."""
    shape = shape_of(layer)
    axis = len(shape) - CHANNEL_AXIS_FROM_END[layer.target]
    channels = _numbers(axis, shape)
    for node in reversed(moves):
        channels = move(graph_module, node, channels)
    return channels.shape[1] == shape[axis] and torch.equal(channels, _numbers(1, channels.shape))


def _numbers(axis: int, shape: Sequence[int]) -> Tensor:
    """Number the places along an axis from 1: 0 stands for padding."""
    return torch.arange(1.0, shape[axis] + 1).view(-1, *[1] * (len(shape) - axis - 1)).expand(shape)


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
    norm.replace_all_uses_with(norm.args[0])  # type: ignore[arg-type]
    graph_module.graph.erase_node(norm)
