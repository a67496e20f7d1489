"""Measure the cost of each site: the network with this site alone quantized, and with all other sites quantized."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.fx import Node

from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.walks import independent_of
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizers

COSTS = ["alone_kl", "alone_drop", "without_kl", "without_drop"]


@torch.no_grad()
def site_sensitivity(network: TracedModel, quantizers: Quantizers, images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Tabulate per site the KL divergence from the FP32 network in nats and the drop of top-1 in points.

    They are measured on ``images`` [N, C, H, W] with ``labels`` [N]. In the columns ``alone_*`` this site alone is quantized, in
    ``without_*`` all sites except this one.
    """

    def run(chosen: Quantizers, known: dict[Node, Any]) -> tuple[Tensor, dict[Node, Any]]:
        runner = FakeQuantInterpreter(network.graph_module, network.sites, chosen, keep_values=True)
        return runner.run(images, initial_env=known), runner.env

    def cost(logits: Tensor) -> tuple[float, float]:
        lost = top1_correct(reference, labels).double().mean() - top1_correct(logits, labels).double().mean()
        return mean_kl(reference, logits), 100 * float(lost)

    reference, exact = run({}, {})
    _, quantized = run(quantizers, {})
    rows = []
    for site in track(network.sites, "measuring sites"):
        others = {name: operands for name, operands in quantizers.items() if name != site.name}
        alone, _ = run({site.name: quantizers[site.name]}, independent_of(site.node, exact))
        without, _ = run(others, independent_of(site.node, quantized))
        rows.append((site.name, site.kind, *cost(alone), *cost(without)))
    return pd.DataFrame(rows, columns=["site", "kind", *COSTS])
