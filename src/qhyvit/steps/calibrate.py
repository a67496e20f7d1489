"""Step `calibrate`: one artifact a model and seed, shared by all methods."""

from pathlib import Path

from qhyvit.calibration.capture import capture
from qhyvit.calibration.output_samples import OutputCollector
from qhyvit.calibration.serialization import save_statistics
from qhyvit.config import Config
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.device import choose_device
from qhyvit.models.loading import load_model
from qhyvit.provenance import provenance


def calibrate(config: Config, model: str, seed: int, images: Path, output: Path, count: int | None = None) -> None:
    """Capture the statistics of ``model`` over the calibration images that ``seed`` draws of the manifest ``images``.

    They are as many as the experiment says, or ``count``.
    """
    experiment = config.experiment
    device = choose_device(experiment.device)
    loaded = load_model(config, model, device)
    network = loaded.traced
    entries = calibration_entries(experiment, images, seed, count)
    batches = [batch.to(device) for batch in load_batches(experiment, entries, loaded.transform)]
    tensors = OutputCollector(network.output_sites, len(batches), seed)
    statistics = capture(network.graph_module, network.sites, batches, experiment.calibration.sampled_positions, seed, collectors=[tensors])
    settings = {"seed": seed, "images": [entry.path.name for entry in entries], **experiment.calibration.model_dump(exclude={"images"})}
    record = provenance({"weights": config.weights_path(model), "images": images}, settings)
    save_statistics(output, statistics, record, tensors.statistics())
