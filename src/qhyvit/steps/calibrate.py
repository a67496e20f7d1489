"""Step `calibrate`: one artifact a model and seed, shared by all methods."""

from pathlib import Path

import torch

from qhyvit.calibration.capture import capture
from qhyvit.calibration.store import save_statistics
from qhyvit.config import Config
from qhyvit.data.folder import draw, read_checked
from qhyvit.data.manifest import read_manifest
from qhyvit.network import load_network
from qhyvit.provenance import provenance


def calibrate(config: Config, model: str, seed: int, images: Path, output: Path) -> None:
    """Capture the statistics of ``model`` over the calibration images that ``seed`` draws; ``images`` is the manifest."""
    experiment = config.experiment
    network = load_network(config, model)
    entries = draw(read_manifest(experiment.dataset, images, "calibration"), experiment.calibration.images, seed)
    inputs = torch.stack([network.transform(read_checked(entry)) for entry in entries])
    statistics = capture(
        network.graph_module, network.sites, inputs.split(experiment.calibration.batch_size), experiment.calibration.positions, seed
    )
    settings = {"seed": seed, "images": [entry.path.name for entry in entries], **experiment.calibration.model_dump(exclude={"images"})}
    save_statistics(output, statistics, provenance({"weights": config.weights_path(model), "images": images}, settings))
