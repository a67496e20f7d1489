"""Values of the nodes of a quantized network, as the simulator computes them."""

from typing import Any

import torch
from torch import Tensor, fx

from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.base import Quantizers


def simulated_values(model: TracedModel, quantizers: Quantizers, example: Tensor) -> dict[str, Any]:
    """Return what the readers of each node get from it in the quantized network, for ``example`` [B, C, H, W], by the name of the node.

    The result of a node that mode `full` quantizes is the quantized one. Operands of sites are those before their own quantizers.
    """
    graph_module = model.with_quantizers(quantizers)
    interpreter = fx.Interpreter(graph_module, garbage_collect_values=False)
    with torch.no_grad():
        interpreter.run(example)
    values = {node.name: value for node, value in interpreter.env.items()}
    rounded = {node.target: value for node, value in interpreter.env.items() if node.op == "call_module"}
    return values | {
        site.node.name: rounded[f"quantized_{site.node.name}_output"] for site in model.output_sites if site.name in quantizers
    }
