"""Command `predict`."""

from typing import Annotated

import torch
import typer

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.evaluation.evaluation_set import input_files, predict_images
from qhyvit.evaluation.shards import save_shard


def predict(
    config: options.Config,
    model: options.Model,
    images: options.Images,
    shard: Annotated[int, typer.Option(help="Number of the shard, from 1 to the experiment's evaluation.shards.")],
    output: options.Output,
    quantized: options.Quantized = None,
    threads: options.Threads = 1,
) -> None:
    """Run networks on one shard of the evaluation images, for `qhyvit evaluate` to merge."""
    torch.set_num_threads(threads)
    settings, networks = load_experiment(config, model), quantized or []
    predictions = predict_images(settings, model, images, networks, shard)
    inputs = input_files(settings, model, images, networks)
    save_shard(output, predictions, shard, settings.experiment.evaluation.shards, inputs, settings.experiment.dataset.preprocessing)
