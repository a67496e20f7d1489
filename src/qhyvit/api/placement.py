"""Devices of traced graphs: torch.export writes the device of the trace into operators that make tensors, such as arange and to."""

import torch
from torch.fx import GraphModule
from torch.fx.node import Argument

from qhyvit.graph.traced_model import TracedModel, move_graph


def place(model: TracedModel, device: str) -> None:
    """Move a traced model to ``device``, in place, with the tensors that its operators make."""
    move_graph(model.graph_module, device)
    place_operators(model.graph_module, torch.device(device))


def copy_to(model: TracedModel, device: str) -> TracedModel:
    """Return a copy of a traced model on ``device``, whose operators make their tensors there."""
    copy = model.copy_to(device)
    place_operators(copy.graph_module, torch.device(device))
    return copy


def place_operators(graph_module: GraphModule, device: torch.device) -> None:
    """Let each operator of a graph that states a device state this one."""

    def placed(argument: Argument) -> Argument:
        return device if isinstance(argument, torch.device) else argument

    for node in graph_module.graph.nodes:
        node.args = tuple(map(placed, node.args))
        node.kwargs = {name: placed(argument) for name, argument in node.kwargs.items()}
    graph_module.recompile()
