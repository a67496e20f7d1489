"""Measure the cost of each site: the network with this site alone quantized, and with all other sites quantized."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.fx import Node

from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.walks import independent_of
from qhyvit.progress import track
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizers

COSTS = ["alone_kl", "alone_drop", "without_kl", "without_drop"]
ALL = "all_kl"
CHUNK = 64  # images at a time: the values of all nodes are kept for them


@torch.no_grad()
def site_sensitivity(
    network: TracedModel, quantizers: Quantizers, images: Tensor, labels: Tensor, changed: Parameters = NO_PARAMETERS
) -> pd.DataFrame:
    """Tabulate per site the KL divergence from the FP32 network in nats and the drop of top-1 in points.

    They are measured on ``images`` [N, C, H, W] with ``labels`` [N]. In the columns ``alone_*`` this site alone is quantized, in
    ``without_*`` all sites except this one. ``all_kl`` is of all sites together, and thus the same in each row. ``network`` is the FP32
    network; quantized ones have the parameters ``changed`` in addition.
    """
    tuned = network.with_parameters(changed)
    parts = list(zip(images.split(CHUNK), labels.split(CHUNK), strict=True))
    costs = [_costs(network, tuned, quantizers, *part) for part in parts]
    means = np.average(costs, axis=0, weights=[len(part) for part, _ in parts])
    rows = [(site.name, site.kind, *of_site) for site, of_site in zip(network.sites, means, strict=True)]
    return pd.DataFrame(rows, columns=["site", "kind", *COSTS, ALL])


def _costs(network: TracedModel, tuned: TracedModel, quantizers: Quantizers, images: Tensor, labels: Tensor) -> list[list[float]]:
    """Return the COSTS and ALL of each site; the values of all nodes are kept, so that each site repeats only what depends on it."""
    reference = network.graph_module(images)

    def run(chosen: Quantizers, known: dict[Node, Any]) -> tuple[Tensor, dict[Node, Any]]:
        runner = FakeQuantInterpreter(tuned.graph_module, tuned.sites, chosen, keep_values=True)
        return runner.run(images, initial_env=known), runner.env

    def cost(logits: Tensor) -> tuple[float, float]:
        lost = top1_correct(reference, labels).double().mean() - top1_correct(logits, labels).double().mean()
        return mean_kl(reference, logits), 100 * float(lost)

    (_, exact), (logits, quantized) = run({}, {}), run(quantizers, {})
    costs, all_kl = [], mean_kl(reference, logits)
    for site in track(tuned.sites, "measuring sites"):
        others = {name: operands for name, operands in quantizers.items() if name != site.name}
        alone, _ = run({site.name: quantizers[site.name]}, independent_of(site.node, exact))
        without, _ = run(others, independent_of(site.node, quantized))
        costs.append([*cost(alone), *cost(without), all_kl])
    return costs
