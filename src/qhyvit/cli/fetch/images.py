"""Command `fetch images`."""

from qhyvit.cli import options
from qhyvit.config.loading import load_config
from qhyvit.data.dvc import pull, tracked_path
from qhyvit.data.manifest import write_manifest
from qhyvit.data.stamps import FIRST


def fetch_images(
    config: options.Config,
    output: options.Output,
    stamps: options.Stamps = None,
    state: options.State = FIRST,
) -> None:
    """Check every image of the experiment and write their manifest; images tracked by DVC are pulled first."""
    dataset = load_config(config).experiment.dataset
    for folder in dict.fromkeys(map(tracked_path, (dataset.calibration, dataset.evaluation))):
        if folder:
            pull(folder)
    write_manifest(dataset, output, stamps, state)
