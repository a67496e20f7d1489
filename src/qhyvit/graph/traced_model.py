"""Traced model: a graph with folded BatchNorm, and its sites."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from qhyvit.errors import InputError, first_words
from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.fold import fold_and_check
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.output_sites import OutputSite, find_output_sites
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.trace import trace
from qhyvit.quantizers.base import Parameters, Quantizers


@dataclass(frozen=True)
class TracedModel:
    """Folded graph of a model with its sites and output sites."""

    graph_module: GraphModule
    sites: list[Site]
    output_sites: list[OutputSite]

    @classmethod
    def from_module(cls, model: nn.Module, example: Tensor, device: str = "cpu") -> "TracedModel":
        """Trace ``model`` on ``example`` [B, C, H, W], B > 1, fold its BatchNorms, and move the graph to ``device``.

        Raises InputError for a model that cannot be traced (see `trace`), for one that drops the batch axis of a single image,
        and for one without sites.
        """
        graph_module = trace(model, example)
        _require_row_per_image(model, graph_module, example)
        fold_and_check(graph_module, example)
        move_graph(graph_module, device)
        sites = find_sites(graph_module)
        if not sites:
            said = f"{type(model).__name__}: has no product that can be quantized"
            raise InputError(f"{said}; give a network with convolutions, linear layers or matrix products")
        return cls(graph_module, sites, find_output_sites(graph_module))

    def copy_to(self, device: str) -> "TracedModel":
        """Return a copy on ``device``."""
        copy = deepcopy(self.graph_module)
        move_graph(copy, device)
        return TracedModel(copy, find_sites(copy), find_output_sites(copy))

    def with_parameters(self, changed: Parameters) -> "TracedModel":
        """Return a copy with other values of the parameters that ``changed`` names; this model if there are none."""
        if not changed:
            return self
        copy = deepcopy(self.graph_module)
        for name, value in changed.items():
            copy.get_parameter(name).data = value.clone()
        return TracedModel(copy, find_sites(copy), find_output_sites(copy))

    def with_quantizers(self, quantizers: Quantizers) -> GraphModule:
        """Return a copy of the graph in which the sites and output sites that ``quantizers`` names are fake-quantized."""
        copy = deepcopy(self.graph_module)
        insert_quantizers(copy, [*find_sites(copy), *find_output_sites(copy)], quantizers)
        return copy


def _require_row_per_image(model: nn.Module, graph_module: GraphModule, example: Tensor) -> None:
    name, advice = type(model).__name__, "use flatten(1) or squeeze((2, 3)) in place of squeeze(), which removes the axis of the batch too"
    try:
        with torch.no_grad():
            found = model(example[:1].clone()).shape
    except Exception as error:  # of any kind: the model is the user's
        raise InputError(f"{name}: runs on two images, but not on one ({first_words(error)}); {advice}") from error
    (result,) = graph_module.graph.output_node().all_input_nodes
    expected = (1, *shape_of(result)[1:])
    if found != expected:
        raise InputError(f"{name}: for one image it returns {list(found)}, not {list(expected)}; {advice}")


def move_graph(graph_module: GraphModule, device: str) -> None:
    """Move a traced graph to ``device``: parameters, buffers, and constants that are neither."""
    graph_module.to(device)
    for module in graph_module.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                setattr(module, name, value.to(device))
