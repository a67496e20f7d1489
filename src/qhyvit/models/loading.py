"""Load a network of an experiment: traced, with its weights, and the transform of its input."""

from dataclasses import dataclass

from torch.utils._pytree import tree_leaves

from qhyvit.config.loading import Config
from qhyvit.data.labelled_images import Transform
from qhyvit.errors import InputError
from qhyvit.files import file_sha256
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.recorded_weights import require_pinned
from qhyvit.models.zoo import build, example_input, load_weights, make_transform


@dataclass(frozen=True)
class LoadedModel:
    """Traced network and the transform from an image to its input."""

    traced: TracedModel
    transform: Transform


_preloaded: dict[str, LoadedModel] = {}


def preload(config: Config, name: str) -> None:
    """Load the network ``name`` to the CPU now, for calls of `load_model` in forks of this process."""
    _preloaded[_state(config, name)] = load_model(config, name)


def load_model(config: Config, name: str, device: str = "cpu") -> LoadedModel:
    """Load the network ``name`` of the experiment to ``device``, or return what `preload` has loaded.

    Raises InputError for weights that are missing, do not fit, or have changed since they were fetched, and for a network that does not
    return a logit per class for images of the size that the experiment states.
    """
    require_pinned(config, name)
    if device == "cpu" and _preloaded and (loaded := _preloaded.get(_state(config, name))):
        return loaded
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size)
    load_weights(model, config.weights_path(name))
    try:
        transform = make_transform(model, dataset)
        traced = TracedModel.from_module(model, example_input(model, dataset), device)
        _require_logits(traced, dataset.classes)
    except InputError as error:
        size = f"dataset.input_size {dataset.input_size}" if dataset.input_size else "the model's own input size"
        raise InputError(f"model {name}, {size}: {error}") from error
    return LoadedModel(traced, transform)


def _state(config: Config, name: str) -> str:
    """Return what a loaded network depends on, as text."""
    weights = config.weights_path(name)
    return repr((config.models[name], config.experiment.dataset, file_sha256(weights) if weights.is_file() else None))


def _require_logits(traced: TracedModel, classes: int) -> None:
    (output,) = tree_leaves(traced.graph_module.graph.output_node().args)
    if shape_of(output)[1:] != (classes,):
        said = f"returns {list(shape_of(output)[1:])} for an image"
        raise InputError(f"{said}; it must return {classes} logits, one per class: correct its `arguments` or dataset.classes")
