"""Load a network of an experiment: traced, with its weights, and the transform of its input."""

from dataclasses import dataclass

from qhyvit.config.loading import Config
from qhyvit.data.entries import Transform
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.zoo import build, example_input, load_weights, make_transform


@dataclass(frozen=True)
class LoadedModel:
    """Traced network and the transform from an image to its input."""

    traced: TracedModel
    transform: Transform


def load_model(config: Config, name: str, device: str = "cpu") -> LoadedModel:
    """Load the network ``name`` of the experiment to ``device``. Raises InputError for weights that are missing or do not fit."""
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size)
    load_weights(model, config.weights_path(name))
    return LoadedModel(TracedModel.from_module(model, example_input(model, dataset), device), make_transform(model, dataset))
