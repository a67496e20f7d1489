"""Effect of rounding ties: how far the simulation's logits move when each activation is off by one rounding error of float32.

Engines add numbers in another order than PyTorch. A value on a tie of its grid is then rounded to the other side, which moves it by a whole
step, and the layers after it see another input. So logits of two exact computations differ as much as those of a disturbed one.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.sites import find_sites
from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.base import Quantizers

NOISE = 3e-7  # largest disturbance, in parts of the largest activation: FP32 networks differ by as much between PyTorch and OpenVINO


class _Disturbed(FakeQuantInterpreter):
    """Interpreter that adds uniform noise to the activations of a site before they are rounded."""

    def __init__(self, graph_module: GraphModule, quantizers: Quantizers) -> None:
        super().__init__(graph_module, find_sites(graph_module), quantizers)
        self.generator = torch.Generator().manual_seed(0)

    def run_node(self, node: Node) -> Any:
        """Return the value of a node; others that read the activations of a site see them undisturbed."""
        undisturbed = {}
        if site := self.quantized_sites.get(node):
            sources = [source for operand, source in zip(site.operands, site.operand_nodes, strict=True) if operand != "weight"]
            undisturbed = {source: self.env[source] for source in sources}
            self.env.update({source: self._disturb(value) for source, value in undisturbed.items()})
        value = super().run_node(node)
        self.env.update(undisturbed)
        return value

    def _disturb(self, x: Tensor) -> Tensor:
        noise = 2 * torch.rand(x.shape, generator=self.generator, dtype=x.dtype) - 1
        return x + NOISE * x.abs().max() * noise


class DisturbedSimulation(nn.Module):
    """Quantized network whose activations are disturbed, each by the same noise in every call.

    It can be copied, which the nodes of sites cannot, so that sites are found in each call.
    """

    def __init__(self, model: TracedModel, quantizers: Quantizers) -> None:
        super().__init__()
        self.graph_module, self.quantizers = model.graph_module, quantizers

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, classes] of images [N, C, H, W]."""
        logits = _Disturbed(self.graph_module, self.quantizers).run(images)
        assert isinstance(logits, Tensor)
        return logits
