"""Values that no image reaches, as of a convolution of an embedding of positions, or of learnt queries: engines fail on their integers."""

import torch
from torch import Tensor

from qhyvit.deploy.simulated_values import simulated_values
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.walks import users_of, visit
from qhyvit.quantizers.base import Quantizers


def constant_values(model: TracedModel, quantizers: Quantizers, example: Tensor) -> dict[str, Tensor]:
    """Return the value of each node that is a quantized site, or an operand of a product, and depends on nothing but the number of images.

    Values are those of the quantized network for ``example`` [B, C, H, W], by the names of the nodes.
    """
    images = model.graph_module.graph.find_nodes(op="placeholder")
    reached = visit(images, lambda node: not isinstance(node.meta.get("val"), torch.SymInt), users_of)
    sites = [site for site in model.sites if site.name in quantizers]
    nodes = {site.node for site in sites}.union(*(site.operand_nodes for site in sites if site.kind == "matmul")) - reached.keys()
    if not nodes:
        return {}
    values = simulated_values(model, quantizers, example)
    return {node.name: values[node.name] for node in nodes}
