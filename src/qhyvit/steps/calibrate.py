"""Step `calibrate`: two artifacts a model and seed, shared by all methods: of the sites, and of the bridge blocks."""

from pathlib import Path

import torch

from qhyvit.calibration.blocks import capture_blocks, save_blocks
from qhyvit.calibration.capture import capture
from qhyvit.calibration.store import save_statistics
from qhyvit.config import Config
from qhyvit.data.folder import draw, read_checked
from qhyvit.data.manifest import read_manifest
from qhyvit.graph.block import extract_block
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.network import load_network
from qhyvit.provenance import provenance


def calibrate(config: Config, model: str, seed: int, images: Path, output: Path, blocks: Path) -> None:
    """Capture the statistics of ``model`` over the calibration images that ``seed`` draws; ``images`` is the manifest."""
    experiment = config.experiment
    network = load_network(config, model)
    entries = draw(read_manifest(experiment.dataset, images, "calibration"), experiment.calibration.images, seed)
    inputs = torch.stack([network.transform(read_checked(entry)) for entry in entries])
    batches = inputs.split(experiment.calibration.batch_size)
    statistics = capture(network.graph_module, network.sites, batches, experiment.calibration.positions, seed)
    bridge_blocks = find_bridge_blocks(network.graph_module, network.sites)
    block_statistics = capture_blocks(
        network.graph_module, [extract_block(network.graph_module, block) for block in bridge_blocks], batches, seed
    )
    settings = {"seed": seed, "images": [entry.path.name for entry in entries], **experiment.calibration.model_dump(exclude={"images"})}
    record = provenance({"weights": config.weights_path(model), "images": images}, settings)
    save_statistics(output, statistics, record)
    save_blocks(blocks, block_statistics, record)
