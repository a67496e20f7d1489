"""Load a network of an experiment: traced, with its weights, and the transform of its input."""

from dataclasses import dataclass

from torch.utils._pytree import tree_leaves

from qhyvit.config.loading import Config
from qhyvit.data.labelled_images import Transform
from qhyvit.errors import InputError
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.recorded_weights import require_pinned
from qhyvit.models.zoo import build, example_input, load_weights, make_transform


@dataclass(frozen=True)
class LoadedModel:
    """Traced network and the transform from an image to its input."""

    traced: TracedModel
    transform: Transform


def load_model(config: Config, name: str, device: str = "cpu") -> LoadedModel:
    """Load the network ``name`` of the experiment to ``device``.

    Raises InputError for weights that are missing, do not fit, or have changed since they were fetched, and for a network that does not
    return a logit per class for images of the size that the experiment states.
    """
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size)
    require_pinned(config, name)
    load_weights(model, config.weights_path(name))
    try:
        transform = make_transform(model, dataset)
        traced = TracedModel.from_module(model, example_input(model, dataset), device)
        _require_logits(traced, dataset.classes)
    except InputError as error:
        size = f"dataset.input_size {dataset.input_size}" if dataset.input_size else "the model's own input size"
        raise InputError(f"model {name}, {size}: {error}") from error
    return LoadedModel(traced, transform)


def _require_logits(traced: TracedModel, classes: int) -> None:
    (output,) = tree_leaves(traced.graph_module.graph.output_node().args)
    if shape_of(output)[1:] != (classes,):
        said = f"returns {list(shape_of(output)[1:])} for an image"
        raise InputError(f"{said}; it must return {classes} logits, one per class: correct its `arguments` or dataset.classes")
