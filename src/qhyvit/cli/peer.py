"""Command `peer`."""

import os
from pathlib import Path
from typing import Annotated

import torch
import typer

from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.config.deployment import PEER_FORMATS, SUFFIXES, Peer
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.errors import InputError
from qhyvit.models.loading import load_model
from qhyvit.peers import PEERS


def peer(
    config: options.Config,
    model: options.Model,
    peer: Annotated[Peer, typer.Option(help="Tool and its settings, as in section `deployment` of the experiment.")],
    seed: options.Seed,
    images: options.Images,
    output: Annotated[Path, options.Written(), typer.Option(help="File to write: .xml of NNCF, .onnx of ONNX Runtime.")],
) -> None:
    """Quantize a network to W8A8 with another tool, from the calibration images of a seed, and export it."""
    torch.set_num_threads(1)
    suffix = SUFFIXES[PEER_FORMATS[peer]]
    if output.suffix != suffix:
        raise InputError(f"{output}: {peer} writes {suffix} files alone; give a path that ends so")
    if hasattr(os, "sched_setaffinity"):  # the tools do not let one choose their threads
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    settings = load_experiment(config, model)
    loaded = load_model(settings, model)
    entries = calibration_entries(settings.experiment, images, seed)
    batches = load_batches(settings.experiment, entries, loaded.transform)
    PEERS[peer](loaded.traced, torch.cat(batches), output)
