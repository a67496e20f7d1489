"""Fold BatchNorm into the convolution or linear layer before it, in the graph."""

from torch import nn
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_weights

from qhyvit.graph.nodes import tensor_of
from qhyvit.graph.operators import FOLDABLE, aten


def fold_batch_norm(graph_module: GraphModule) -> int:
    """Fold every BatchNorm whose input is a convolution or linear layer that nothing else reads; return how many were folded."""
    folded = 0
    for node in list(graph_module.graph.nodes):
        if node.target is aten.batch_norm.default:
            layer = node.args[0]
            if layer.target in FOLDABLE and len(layer.users) == 1:
                _fold(graph_module, layer, node)
                folded += 1
    graph_module.graph.eliminate_dead_code()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return folded


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
