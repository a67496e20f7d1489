"""Comparison of what modules compute: equal state dicts may have other attributes, buffers that are not saved, or another forward."""

from hashlib import sha256

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.node import map_arg

from qhyvit.api.copying import copy_on_cpu
from qhyvit.graph.fold import ROUNDING, TOLERANCE


@torch.no_grad()
def is_graph_of(graph_module: GraphModule, module: nn.Module, image: Tensor) -> bool:
    """Tell if a graph on the CPU computes what ``module`` computes in eval mode, on an image [1, C, H, W]; a copy of the module is run."""
    copy, image = copy_on_cpu(module).eval(), image.cpu()
    try:
        expected = copy(image.clone())
    except Exception:  # of any kind: the module is the user's, and the module of the graph runs on this image
        return False
    return computes(graph_module, image, expected)


@torch.no_grad()
def computes(graph_module: GraphModule, image: Tensor, expected: object) -> bool:
    """Tell if a graph computes the logits ``expected`` for an image [1, C, H, W], within the tolerance of `fold_and_check`.

    True too if rounding the image differently changes the logits by more than that: then no comparison is possible.
    """
    found = graph_module(image)
    if not isinstance(expected, Tensor) or expected.shape != found.shape:
        return False
    expected = expected.to(found.dtype)
    return _close(found, expected) or not _close(graph_module(image * ROUNDING), found)


def graph_hash(graph_module: GraphModule) -> str:
    """Hash the operators of a graph with their arguments. Modules that compute the same may differ in them, and so in their sites."""
    places = {node: f"%{place}" for place, node in enumerate(graph_module.graph.nodes)}
    lines = [
        f"{node.op} {'' if node.op == 'placeholder' else node.target} {map_arg((node.args, node.kwargs), places.get)}" for node in places
    ]
    return sha256("\n".join(lines).encode()).hexdigest()


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max()))
