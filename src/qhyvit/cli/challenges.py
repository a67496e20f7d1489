"""Command `challenges`."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from qhyvit.analysis.challenges import activation_table, channel_table, network_summary
from qhyvit.analysis.norms import find_norms, norm_table
from qhyvit.calibration.serialization import load_statistics
from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.files import atomic_write
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.models.zoo import build, example_input


def challenges(
    config: options.Config,
    model: options.Model,
    calibration: options.Calibration,
    output: Annotated[Path, typer.Option(help="CSV file for range and zero-point overflow of each activation.")],
    channels: Annotated[Path, typer.Option(help="CSV file for the range of each channel.")],
    norms: Annotated[Path, typer.Option(help="CSV file for the norms.")],
    summary: Annotated[Path, typer.Option(help="JSON file for counts and shares of the whole network.")],
    threads: options.Threads = 1,
) -> None:
    """Measure what makes a network hard to quantize: channel ranges, zero-point overflow, norms, residual branches."""
    torch.set_num_threads(threads)
    settings = load_experiment(config, model)
    dataset = settings.experiment.dataset
    network = build(settings.models[model], dataset.classes, dataset.input_size)  # the calibration holds all that depends on the weights
    graph_module = trace(network, example_input(network, dataset))
    norm_nodes = find_norms(graph_module)
    fold_batch_norm(graph_module)
    sites = find_sites(graph_module)
    bridge = {site for block in find_bridge_blocks(graph_module, sites) for site in block.sites}
    statistics, _ = load_statistics(calibration)
    table = norm_table(norm_nodes, graph_module, bridge)
    _write(activation_table(graph_module, sites, bridge, statistics), model, output)
    _write(channel_table(sites, bridge, statistics), model, channels)
    _write(table, model, norms)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    described = {"model": model, "parameters": parameters, **network_summary(graph_module, sites, bridge, table)}
    with atomic_write(summary) as path:
        path.write_text(json.dumps(described, indent=1) + "\n")


def _write(table: pd.DataFrame, model: str, path: Path) -> None:
    table.insert(0, "model", model)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
