"""Network and calibration images as all tools take them."""

import torch
from torch import Tensor, nn

from benchmarks.common import MANIFEST, MODEL, SEED, load_experiment
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.models.zoo import build, load_weights, make_transform


def load(size: int | None, images: int, name: str = MODEL) -> tuple[nn.Module, list[Tensor]]:
    """Return a network with its weights, in evaluation mode, and the calibration images one by one, each [1, 3, H, W].

    ``size`` is the side in pixels, None the network's own.
    """
    torch.set_num_threads(1)
    config = load_experiment(size, images)
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, size)
    load_weights(model, config.weights_path(name))
    entries = calibration_entries(config.experiment, MANIFEST, SEED)
    batches = load_batches(config.experiment, entries, make_transform(model, dataset))
    return model.eval(), list(torch.cat(batches).split(1))
