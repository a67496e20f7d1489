"""Command `calibrate`."""

from typing import Annotated

import torch
import typer

from qhyvit.calibration.capture import capture
from qhyvit.calibration.output_samples import OutputCollector
from qhyvit.calibration.serialization import save_statistics
from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.device import choose_device
from qhyvit.models.loading import load_model
from qhyvit.provenance import provenance


def calibrate(
    config: options.Config,
    model: options.Model,
    seed: options.Seed,
    images: options.Images,
    output: options.Output,
    count: Annotated[int | None, typer.Option(min=1, help="Number of calibration images; default: calibration.images.")] = None,
    threads: options.Threads = 1,
) -> None:
    """Record ranges, sampled rows and Fisher gradients of every site; all methods share them."""
    torch.set_num_threads(threads)
    settings = load_experiment(config, model)
    experiment = settings.experiment
    device = choose_device(experiment.device)
    loaded = load_model(settings, model, device)
    network = loaded.traced
    entries = calibration_entries(experiment, images, seed, count)
    batches = [batch.to(device) for batch in load_batches(experiment, entries, loaded.transform)]
    outputs = OutputCollector(network.output_sites, len(batches), seed)
    statistics = capture(network.graph_module, network.sites, batches, experiment.calibration.sampled_positions, seed, collectors=[outputs])
    drawn = {
        "seed": seed,
        "images": [entry.path.name for entry in entries],
        "preprocessing": experiment.dataset.preprocessing,
        **experiment.calibration.model_dump(exclude={"images"}),
    }
    record = provenance({"weights": settings.weights_path(model), "images": images}, drawn, device)
    save_statistics(output, statistics, record, outputs.statistics())
