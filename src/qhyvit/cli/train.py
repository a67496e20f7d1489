"""Command `train`."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.data import cifar10
from qhyvit.data.cifar10_sample import draw_sample
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.training import remove_checkpoints, store_weights, top1_accuracy, train_cycles
from qhyvit.models.zoo import build, load_weights, make_transform


def train(
    config: options.Config,
    model: options.Model,
    data: Annotated[Path, typer.Option(help="Folder written by `qhyvit fetch cifar10`.")],
    output: Annotated[Path, options.Written(weights=True), typer.Option(help="File to write.")],
    report: Annotated[
        Path, options.Written(), typer.Option(help="JSON file for the accuracy on the test images outside the final evaluation set.")
    ],
    threads: options.Threads = 2,
) -> None:
    """Train a model from scratch and write its weights in half precision; resumes after an interruption."""
    torch.set_num_threads(threads)
    settings = load_experiment(config, model)
    cycles, dataset = settings.experiment.training.get(model), settings.experiment.dataset
    if not cycles:
        raise InputError(f"{model}: the section `training` of {config} lacks this model; config/config.yaml has an example")
    spec = settings.models[model]
    train_split, test_split = cifar10.load(data, "train"), cifar10.load(data, "test")
    images, labels = (torch.from_numpy(part) for part in train_split)
    trained = train_cycles(spec, dataset, cycles, images, labels, output)
    store_weights(trained, output)
    stored = build(spec, dataset.classes, dataset.input_size)
    load_weights(stored, output)
    final = draw_sample(train_split, test_split).final
    left = [np.delete(part, final, axis=0) for part in test_split]
    top1 = top1_accuracy(stored.eval(), make_transform(stored, dataset), *left)
    with atomic_write(report) as temporary:
        temporary.write_text(json.dumps({"model": model, "test_images": len(left[1]), "top1": top1}) + "\n")
    remove_checkpoints(output)
