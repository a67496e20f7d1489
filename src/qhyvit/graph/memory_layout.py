"""Memory layout in which convolutions are faster on CPUs."""

from copy import deepcopy

import torch
from torch import nn
from torch.fx import GraphModule

from qhyvit.graph.nodes import tensor_of
from qhyvit.graph.operators import CONVOLUTIONS
from qhyvit.graph.strides import reshape_views


def with_channels_last(network: nn.Module) -> nn.Module:
    """Return a copy of ``network`` in whose graphs the weights of convolutions in two dimensions are channels-last.

    Other tensors keep their layout: some operators, such as views as complex numbers, allow no other. Views of maps become reshapes, which
    the layout allows.
    """
    copy = deepcopy(network)
    for module in copy.modules():
        if isinstance(module, GraphModule):
            _convert_weights(module)
            reshape_views(module)
    return copy


def _convert_weights(graph_module: GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.target in CONVOLUTIONS and node.args[1].op == "get_attr":
            weight = tensor_of(graph_module, node.args[1])
            assert weight is not None
            weight.data = weight.data.to(memory_format=torch.channels_last)
