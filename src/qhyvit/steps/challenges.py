"""Step `challenges`: what makes one network hard to quantize, before any method is tried."""

import json
from pathlib import Path

import pandas as pd

from qhyvit.analysis.challenges import activation_table, channel_table, network_summary
from qhyvit.analysis.norms import find_norms, norm_table
from qhyvit.calibration.serialization import load_statistics
from qhyvit.config import Config
from qhyvit.files import atomic_write
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.models.zoo import build, example_input


def challenges(config: Config, name: str, calibration: Path, output: Path, channels: Path, norms: Path, summary: Path) -> None:
    """Write the activations of network ``name`` to ``output``, their channels to ``channels`` and its norms to ``norms`` (CSV).

    ``summary`` takes counts and shares of the whole network (JSON). The calibration holds all that depends on the weights.
    """
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size)
    graph_module = trace(model, example_input(model, dataset))
    found = find_norms(graph_module)
    fold_batch_norm(graph_module)
    sites = find_sites(graph_module)
    bridge = {site for block in find_bridge_blocks(graph_module, sites) for site in block.sites}
    statistics, _ = load_statistics(calibration)
    table = norm_table(found, graph_module, bridge)
    _write(activation_table(graph_module, sites, bridge, statistics), name, output)
    _write(channel_table(sites, bridge, statistics), name, channels)
    _write(table, name, norms)
    with atomic_write(summary) as path:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        described = {"model": name, "parameters": parameters, **network_summary(graph_module, sites, bridge, table)}
        path.write_text(json.dumps(described, indent=1) + "\n")


def _write(table: pd.DataFrame, model: str, path: Path) -> None:
    table.insert(0, "model", model)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
