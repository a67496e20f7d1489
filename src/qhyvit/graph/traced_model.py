"""A network of the zoo, ready to be quantized: weights loaded, traced, BatchNorm folded, sites found."""

from dataclasses import dataclass

from torch import Tensor
from torch.fx import GraphModule

from qhyvit.config import Config
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.output_sites import OutputSite, find_output_sites
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.trace import trace
from qhyvit.models.zoo import Transform, build, example_input, load_weights, make_transform


@dataclass(frozen=True)
class TracedModel:
    """The folded graph with its sites and tensor sites, and the transform that makes its input."""

    graph_module: GraphModule
    sites: list[Site]
    output_sites: list[OutputSite]
    transform: Transform


def load_network(config: Config, name: str, device: str = "cpu") -> TracedModel:
    """The network ``name`` with its weights, on ``device``. Raises InputError for weights that are missing or do not fit."""
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size)
    load_weights(model, config.weights_path(name))
    graph_module = trace(model, example_input(model, dataset))
    fold_batch_norm(graph_module)
    to_device(graph_module, device)
    return TracedModel(graph_module, find_sites(graph_module), find_output_sites(graph_module), make_transform(model, dataset))


def to_device(graph_module: GraphModule, device: str) -> None:
    """Move the parameters and buffers of a traced graph, and its constants, which are neither."""
    graph_module.to(device)
    for module in graph_module.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                setattr(module, name, value.to(device))
