"""Command `train`."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.data import cifar10
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.training import store_weights, top1_accuracy, train_cycles
from qhyvit.models.zoo import build, load_weights, make_transform


def train(
    config: options.Config,
    model: options.Model,
    data: Annotated[Path, typer.Option(help="Folder written by `qhyvit fetch cifar10`.")],
    output: options.Output,
    report: Annotated[Path, typer.Option(help="JSON file for the accuracy on the 10,000 test images.")],
    threads: options.Threads = 2,
) -> None:
    """Train a model from scratch and write its weights in half precision; resumes after an interruption."""
    torch.set_num_threads(threads)
    settings = load_experiment(config, model)
    cycles, dataset = settings.experiment.training.get(model), settings.experiment.dataset
    if not cycles:
        raise InputError(f"{model}: the section `training` of {config} lacks this model; config/config.yaml has an example")
    spec = settings.models[model]
    images, labels = cifar10.load(data, "train")
    trained = train_cycles(spec, dataset, cycles, torch.from_numpy(images), torch.from_numpy(labels), output)
    store_weights(trained, output)
    stored = build(spec, dataset.classes, dataset.input_size)
    load_weights(stored, output)
    test = cifar10.load(data, "test")
    top1 = top1_accuracy(stored.eval(), make_transform(stored, dataset), *test)
    with atomic_write(report) as temporary:
        temporary.write_text(json.dumps({"model": model, "test_images": len(test[1]), "top1": top1}) + "\n")
