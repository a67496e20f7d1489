"""Sites that no image reaches, such as a convolution of an embedding of positions: engines fail to compute their integers beforehand."""

import torch
from torch import Tensor

from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.walks import users_of, visit
from qhyvit.quantizers.base import Quantizers


def constant_results(model: TracedModel, quantizers: Quantizers, example: Tensor) -> dict[str, Tensor]:
    """Return the result of each quantized site that depends on nothing but the number of images, that of ``example`` [B, C, H, W]."""
    images = model.graph_module.graph.find_nodes(op="placeholder")
    reached = visit(images, lambda node: not isinstance(node.meta.get("val"), torch.SymInt), users_of)
    sites = [site for site in model.sites if site.name in quantizers and site.node not in reached]
    if not sites:
        return {}
    interpreter = FakeQuantInterpreter(model.graph_module, model.sites, quantizers, keep_values=True)
    with torch.no_grad():
        interpreter.run(example)
    return {site.name: interpreter.env[site.node] for site in sites}
