"""A network of the zoo, ready to be quantized: weights loaded, traced, BatchNorm folded, sites found."""

from dataclasses import dataclass

from torch.fx import GraphModule

from qhyvit.config import Config
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.tensors import TensorSite, find_tensors
from qhyvit.graph.trace import trace
from qhyvit.models.zoo import Transform, build, example_input, load_weights, make_transform


@dataclass(frozen=True)
class Network:
    """The folded graph with its sites and tensor sites, and the transform that makes its input."""

    graph_module: GraphModule
    sites: list[Site]
    tensors: list[TensorSite]
    transform: Transform


def load_network(config: Config, name: str) -> Network:
    """The network ``name`` with its weights. Raises InputError for weights that are missing or do not fit."""
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size)
    load_weights(model, config.weights_path(name))
    graph_module = trace(model, example_input(model, dataset))
    fold_batch_norm(graph_module)
    return Network(graph_module, find_sites(graph_module), find_tensors(graph_module), make_transform(model, dataset))
